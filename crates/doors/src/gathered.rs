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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// On one thread, as the edge has it on two processors: the runtime that runs a task that was just woken next.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn answers_that_are_ready_at_the_same_moment_are_written_together() {
        let (answers, written) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let wake = Arc::new(tokio::sync::Notify::new());
        let (open, is_open) = tokio::sync::oneshot::channel();
        let connection = {
            let (answers, written, wake) = (answers.clone(), written.clone(), wake.clone());
            async move {
                open.send(()).unwrap();
                let mut many = 0;
                while many < 6 {
                    wake.notified().await;
                    let mut ready: Vec<u32> = std::mem::take(&mut *answers.lock().unwrap());
                    ready.sort_unstable();
                    many += ready.len();
                    if !ready.is_empty() {
                        written.lock().unwrap().push(ready);
                    }
                }
            }
        };
        let connection = tokio::spawn(Gathered::new(connection));
        is_open.await.unwrap();
        for round in 0..2_u32 {
            let (answers, wake) = (answers.clone(), wake.clone());
            // Spawned by a task of the runtime, they are all ready when it ends.
            let makers = tokio::spawn(async move {
                let make = |maker: u32| {
                    let (answers, wake) = (answers.clone(), wake.clone());
                    tokio::spawn(async move {
                        answers.lock().unwrap().push(3 * round + maker);
                        wake.notify_one();
                    })
                };
                (0..3_u32).map(make).collect::<Vec<_>>()
            });
            for maker in makers.await.unwrap() {
                maker.await.unwrap();
            }
            while written.lock().unwrap().len() <= round as usize {
                tokio::task::yield_now().await;
            }
        }
        connection.await.unwrap();
        assert_eq!(*written.lock().unwrap(), [vec![0, 1, 2], vec![3, 4, 5]]);
    }
}
