//! The actors that carry out effects while this replica leads. They hold no truth: each can be stopped at any time and
//! made anew from the state, and a lost message costs only the time until the next reconcile tick.
//!
//! One for each active run ([`run`]), living attempt ([`attempt`]), stream of offers ([`offers`]) and executor session
//! ([`session`]), one for the timers ([`timers`]), and one for the workspaces of ended runs ([`workspaces`]).

pub mod attempt;
pub mod mesos;
pub mod offers;
pub mod reports;
pub mod run;
pub mod session;
pub mod timers;
pub mod workspaces;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Message};
use tracing::debug;

/// Sends without waiting. A full or closed mailbox drops the message: the reconcile tick derives it again.
pub fn tell<A, M>(to: &Addr<A>, message: M)
where
    A: Actor + actix::Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
    A::Context: ToEnvelope<A, M>,
{
    if let Err(error) = to.try_send(message) {
        debug!(%error, "a message was dropped; the next tick repairs it");
    }
}

/// Stops an actor, whatever kind it is.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;
