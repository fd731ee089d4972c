//! The nouns of Meson: workflow definitions, their checks, the Rust DSL, the YAML and JSON forms, and the sandboxed
//! expressions in them. Pure: no I/O beyond the strings it is given, no clock, no async.
//!
//! ```
//! use meson_workflow::Definition;
//!
//! let text = "
//! name: hello
//! nodes:
//!   - id: greet
//!     kind: shell
//!     config: { command: echo hello }
//!   - id: part
//!     need: [greet]
//!     kind: shell
//!     config: { command: echo bye }
//! ";
//! let problems = Definition::from_yaml(text).unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "line 8, column 5: node \"part\": unknown field `need`: did you mean `needs`?"
//! );
//! ```

pub mod definition;
pub mod dsl;
pub mod expression;
pub mod ids;
pub mod kinds;
pub mod limits;
pub mod sql;
pub mod units;

mod form;
mod params;
mod problem;
mod reader;
mod schema;
mod tree;
mod validate;

pub use definition::Definition;
pub use form::{ContentHash, ParseContentHashError};
pub use ids::RunId;
pub use params::bind_params;
pub use problem::{Location, Problem, Problems};
pub use schema::schema;
pub use validate::validate;

/// The reference's Rust example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
