//! The receiving end of a session: a bounded queue, and the task that fills it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a session tells, in order. Dropping it ends the session and closes its connection.
#[derive(Debug)]
pub struct Signals<T> {
    receiver: mpsc::Receiver<T>,
    task: JoinHandle<()>,
}

impl<T> Signals<T> {
    pub(crate) fn new(receiver: mpsc::Receiver<T>, task: JoinHandle<()>) -> Self {
        Self { receiver, task }
    }

    /// The next signal; `None` after the one that says that the session ended. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        self.receiver.recv().await
    }
}

impl<T> Stream for Signals<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.receiver.poll_recv(context)
    }
}

impl<T> Drop for Signals<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
