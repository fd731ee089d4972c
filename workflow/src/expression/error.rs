//! Why an expression gave nothing, and what to do about it.

use std::fmt;

use minijinja::ErrorKind;

use crate::tree::shorten;

/// An expression or template that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    /// The expression or template.
    pub expression: String,
    /// The character in it where the trouble is, from 1, if known.
    pub position: Option<usize>,
    /// The config field that holds it, if any: `args`, `env.PATH`.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl EvalError {
    pub(super) fn new(expression: &str, reason: impl Into<String>, remedy: &str) -> Self {
        EvalError {
            expression: expression.to_owned(),
            position: None,
            field: String::new(),
            reason: reason.into(),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn too_large() -> Self {
        let reason = format!("it gives more than {} bytes", crate::limits::EVALUATED_BYTES);
        EvalError::new("", reason, "write large values to an artifact and hand on its URI")
    }

    pub(super) fn engine(expression: &str, error: &minijinja::Error) -> Self {
        let start =
            error.range().map(|range| range.start).filter(|start| expression.is_char_boundary(*start));
        let position = start.map(|start| expression[..start].chars().count() + 1);
        let (reason, remedy) = explain(error);
        EvalError { position, ..EvalError::new(expression, reason, remedy) }
    }

    /// The same trouble, of this expression.
    pub(super) fn within(mut self, expression: &str) -> Self {
        self.expression = expression.to_owned();
        self
    }

    /// The same trouble, one level further out in the config.
    pub(super) fn at(mut self, name: &str) -> Self {
        self.field = if self.field.is_empty() { name.to_owned() } else { format!("{name}.{}", self.field) };
        self
    }

    /// Where and why, without the expression itself: what a message that shows its place anyway needs.
    pub(crate) fn brief(&self) -> String {
        match self.position {
            Some(position) => format!("{} (at character {position})", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// The engine's error in our words.
fn explain(error: &minijinja::Error) -> (String, &'static str) {
    let detail = error.detail().unwrap_or_default().to_owned();
    match error.kind() {
        ErrorKind::SyntaxError => (detail, "check brackets, quotes and operators there"),
        ErrorKind::UndefinedError => (
            if detail.is_empty() { "a name in it is not there".to_owned() } else { detail },
            "check the names, or give a default: `… | default(0)`",
        ),
        ErrorKind::OutOfFuel => ("it takes too much work or memory".to_owned(), "do the work in a step"),
        ErrorKind::UnknownFilter => {
            (detail, "the filters are those of Jinja, like `length`, `join` or `default`")
        }
        ErrorKind::UnknownTest => (detail, "the tests are those of Jinja, like `defined`, `none` or `odd`"),
        ErrorKind::UnknownFunction => (detail, "the functions are `range`, `dict` and `namespace`"),
        ErrorKind::UnknownMethod => {
            (detail, "use a filter instead of a method: `x | upper`, not `x.upper()`")
        }
        ErrorKind::TemplateNotFound | ErrorKind::BadInclude => {
            ("templates cannot use other templates".to_owned(), "write the text out")
        }
        kind => (
            if detail.is_empty() { kind.to_string() } else { format!("{kind}: {detail}") },
            "check the types of what it works on",
        ),
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        if !self.expression.is_empty() {
            write!(f, "expression `{}`: ", shorten(&self.expression))?;
        }
        write!(f, "{}: {}", self.brief(), self.remedy)
    }
}

impl std::error::Error for EvalError {}
