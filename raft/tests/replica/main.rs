//! Replicas through their public interface. One program of many tests, because each program compiles the consensus library
//! for itself.

#![allow(clippy::unwrap_used)]

mod bounded;
mod common;
mod damage;
mod full;
mod inspect;
mod members;
mod single;
mod trio;
