//! The checker, checked: histories of a simulated system that keeps all promises must pass, and each planted violation
//! must be found and named.

mod files;
mod legal;
mod linear;
mod planted;
mod reports;
mod scale;
mod sim;
mod wild;
