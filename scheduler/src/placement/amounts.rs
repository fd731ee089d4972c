//! Amounts of an agent's resources, and arithmetic on them that neither wraps nor goes below zero.

use std::fmt;

use meson_workflow::units::Bytes;

/// Amounts of an agent's resources, or what a step needs of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amounts {
    /// Thousandths of a processor core.
    pub cpus_milli: u64,
    /// Memory, in bytes.
    pub mem_bytes: u64,
    /// Disk, in bytes.
    pub disk_bytes: u64,
    /// Graphics processors.
    pub gpus: u32,
}

/// One of the resources in [`Amounts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Processor cores.
    Cpus,
    /// Memory.
    Mem,
    /// Disk.
    Disk,
    /// Graphics processors.
    Gpus,
}

impl Resource {
    /// All of them, the scarce ones people think of first in front.
    pub const ALL: [Resource; 4] = [Resource::Gpus, Resource::Cpus, Resource::Mem, Resource::Disk];

    /// The amount with its unit, as people write it: `2.5 cpus`, `512MiB memory`.
    pub fn describe(self, amount: u64) -> String {
        match self {
            Resource::Cpus => format!("{} cpus", Thousandths(amount)),
            Resource::Mem => format!("{} memory", Bytes(amount)),
            Resource::Disk => format!("{} disk", Bytes(amount)),
            Resource::Gpus => format!("{amount} gpus"),
        }
    }

    /// The bare amount, without the resource's name: `2.5`, `512MiB`.
    pub fn describe_bare(self, amount: u64) -> String {
        match self {
            Resource::Cpus => Thousandths(amount).to_string(),
            Resource::Mem | Resource::Disk => Bytes(amount).to_string(),
            Resource::Gpus => amount.to_string(),
        }
    }
}

impl Amounts {
    /// Nothing of anything.
    pub const ZERO: Amounts = Amounts { cpus_milli: 0, mem_bytes: 0, disk_bytes: 0, gpus: 0 };

    /// The amount of one resource.
    pub fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Cpus => self.cpus_milli,
            Resource::Mem => self.mem_bytes,
            Resource::Disk => self.disk_bytes,
            Resource::Gpus => u64::from(self.gpus),
        }
    }

    /// Whether `need` can be taken from this.
    pub fn fits(&self, need: &Amounts) -> bool {
        self.cpus_milli >= need.cpus_milli
            && self.mem_bytes >= need.mem_bytes
            && self.disk_bytes >= need.disk_bytes
            && self.gpus >= need.gpus
    }

    /// What is left after taking `taken`; none where that is more than there is.
    pub fn checked_sub(&self, taken: &Amounts) -> Option<Amounts> {
        Some(Amounts {
            cpus_milli: self.cpus_milli.checked_sub(taken.cpus_milli)?,
            mem_bytes: self.mem_bytes.checked_sub(taken.mem_bytes)?,
            disk_bytes: self.disk_bytes.checked_sub(taken.disk_bytes)?,
            gpus: self.gpus.checked_sub(taken.gpus)?,
        })
    }

    /// What is left after taking `taken`, at least zero of each.
    pub fn saturating_sub(&self, taken: &Amounts) -> Amounts {
        Amounts {
            cpus_milli: self.cpus_milli.saturating_sub(taken.cpus_milli),
            mem_bytes: self.mem_bytes.saturating_sub(taken.mem_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(taken.disk_bytes),
            gpus: self.gpus.saturating_sub(taken.gpus),
        }
    }

    /// Both together; at the largest number it stays there.
    pub fn saturating_add(&self, more: &Amounts) -> Amounts {
        Amounts {
            cpus_milli: self.cpus_milli.saturating_add(more.cpus_milli),
            mem_bytes: self.mem_bytes.saturating_add(more.mem_bytes),
            disk_bytes: self.disk_bytes.saturating_add(more.disk_bytes),
            gpus: self.gpus.saturating_add(more.gpus),
        }
    }

    /// The smallest share of a needed resource that is there: 1 when `need` fits, 0 when one needed resource is
    /// wholly missing.
    pub fn share_of(&self, need: &Amounts) -> f64 {
        let share = |resource| match need.of(resource) {
            0 => 1.0,
            needed => (self.of(resource) as f64 / needed as f64).min(1.0),
        };
        Resource::ALL.into_iter().map(share).fold(1.0, f64::min)
    }
}

/// A number of thousandths, written without needless zeros.
struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000, self.0 % 1_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_do() {
        assert_eq!(Resource::Cpus.describe(2_500), "2.5 cpus");
        assert_eq!(Resource::Cpus.describe(8_000), "8 cpus");
        assert_eq!(Resource::Cpus.describe(5), "0.005 cpus");
        assert_eq!(Resource::Mem.describe(512 << 20), "512MiB memory");
        assert_eq!(Resource::Gpus.describe_bare(2), "2");
    }

    #[test]
    fn arithmetic_stays_within_its_bounds() {
        let most =
            Amounts { cpus_milli: u64::MAX, mem_bytes: u64::MAX, disk_bytes: u64::MAX, gpus: u32::MAX };
        let one = Amounts { cpus_milli: 1, mem_bytes: 1, disk_bytes: 1, gpus: 1 };
        assert_eq!(most.saturating_add(&one), most);
        assert_eq!(one.saturating_sub(&most), Amounts::ZERO);
        assert_eq!(one.checked_sub(&most), None);
        assert_eq!(one.checked_sub(&one), Some(Amounts::ZERO));
        assert!(one.fits(&one) && one.fits(&Amounts::ZERO) && !one.fits(&most));
    }

    #[test]
    fn share_is_that_of_the_scarcest_resource() {
        let need = Amounts { cpus_milli: 4_000, mem_bytes: 100, ..Amounts::ZERO };
        let have = Amounts { cpus_milli: 1_000, mem_bytes: 200, ..Amounts::ZERO };
        assert_eq!(have.share_of(&need), 0.25);
        assert_eq!(Amounts::ZERO.share_of(&Amounts::ZERO), 1.0);
    }
}
