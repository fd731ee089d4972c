//! The checker, checked: histories of a simulated system that keeps all promises must pass, and each planted violation
//! must be found and named.

mod legal;
mod planted;
mod sim;
