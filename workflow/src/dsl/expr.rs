//! Handles for names in expressions, so that Rust code need not paste strings together.

use std::fmt;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expr(String);

impl Expr {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Expr(text.into())
    }

    /// The handle's own expression; the same as a copy of it.
    pub fn expr(&self) -> Expr {
        self.clone()
    }

    /// A part of its value: `region` → `region.name`.
    pub fn field(&self, name: &str) -> Expr {
        Expr(format!("{}{}", self.0, access(name)))
    }

    /// It as a template, for a step's settings: `{{ region }}`.
    pub fn template(&self) -> String {
        format!("{{{{ {} }}}}", self.0)
    }
}

/// `.name`, or `['my-name']` for a name that the expression language would take apart.
fn access(name: &str) -> String {
    if crate::ids::is_variable_name(name) { format!(".{name}") } else { format!("['{name}']") }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Expr> for String {
    fn from(expr: Expr) -> String {
        expr.0
    }
}

/// The state of a repeat.
#[derive(Debug, Clone, Copy)]
pub struct State(pub(super) ());

impl State {
    /// `state.<name>`.
    pub fn get(&self, name: &str) -> Expr {
        Expr::new("state").field(name)
    }

    /// `iteration`, from 1.
    pub fn iteration(&self) -> Expr {
        Expr::new("iteration")
    }
}

/// `outputs.<node>.<name>`.
pub fn output(node: &str, name: &str) -> Expr {
    Expr::new("outputs").field(node).field(name)
}

/// `params.<name>`.
pub fn param(name: &str) -> Expr {
    Expr::new("params").field(name)
}

/// `attempt`, from 1, in the settings of a step.
pub fn attempt() -> Expr {
    Expr::new("attempt")
}
