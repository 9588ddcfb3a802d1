//! A connection's task that lets what is ready be written together.
//!
//! Every answer of a connection is made by a task of its own, which wakes the connection's task to have it written. The runtime runs a task
//! that was just woken next, before those that wait: then each answer would be written by itself, with a system call each, while the
//! others of the same moment stand ready behind it. A system call and the reader's being woken cost more than making the answer.
//! So a connection that is woken lets all tasks that are ready go first. Alone it comes round again at once: nothing waits for a timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection that is run behind all tasks that were ready when it was woken.
pub(crate) struct Gathered<C> {
    connection: Pin<Box<C>>,
    /// It has let the others go first.
    waited: bool,
}

impl<C: Future> Gathered<C> {
    pub(crate) fn new(connection: C) -> Gathered<C> {
        Gathered { connection: Box::pin(connection), waited: false }
    }
}

impl<C: Future> Future for Gathered<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        if !std::mem::replace(&mut self.waited, true) {
            // Woken while it runs, a task goes to the end of the line.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited = false;
        self.connection.as_mut().poll(context)
    }
}
