//! Scalars as Mesos computes with them: whole thousandths.

use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

const PER_ONE: i64 = 1000;

/// A number with three decimals. Sums of what was added are what is expected: ten times 0.1 is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Fixed(i64);

impl Fixed {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The nearest number with three decimals; halves away from zero. What is no number is nothing, what is too large
    /// is the largest.
    pub fn of(value: f64) -> Self {
        // The cast saturates and turns NaN into 0.
        Self((value * PER_ONE as f64).round() as i64)
    }

    /// So many thousandths.
    pub const fn thousandths(count: i64) -> Self {
        Self(count)
    }

    /// In thousandths.
    pub const fn as_thousandths(self) -> i64 {
        self.0
    }

    /// As the contract writes it.
    pub fn value(self) -> f64 {
        // Whole and fraction apart, so that the division is of a small number, as Mesos does it.
        (self.0 / PER_ONE) as f64 + (self.0 % PER_ONE) as f64 / PER_ONE as f64
    }

    /// Whether it is more than nothing.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl Add for Fixed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Fixed {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Fixed {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl AddAssign for Fixed {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Fixed {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Fixed {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl std::fmt::Display for Fixed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.value())
    }
}
