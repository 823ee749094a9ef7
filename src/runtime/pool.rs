//! Worker threads that run tasks with input.
//!
//! # Invariants
//! 1. A task is in the queue at most once, so the queue is bounded by the number of tasks.
//! 2. A task is run by one worker at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::task::Task;

#[derive(Default)]
struct Queue {
    ready: VecDeque<Arc<Task>>,
    closed: bool,
}

/// The queue of tasks that are ready to run.
#[derive(Default)]
pub struct Ready {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Ready {
    /// Puts a task into the queue; the task sees to it that it is there once.
    pub fn push(&self, task: Arc<Task>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.ready.push_back(task);
        drop(queue);
        self.changed.notify_one();
    }

    fn pop(&self) -> Option<Arc<Task>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.closed {
                return None;
            }
            if let Some(task) = queue.ready.pop_front() {
                return Some(task);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_all();
    }
}

/// The worker threads of the server.
pub struct Pool {
    ready: Arc<Ready>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts `threads` workers.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let ready = Arc::new(Ready::default());
        let workers = (0..threads).map(|i| {
            let ready = Arc::clone(&ready);
            Builder::new().name(format!("worker-{i}")).spawn(move || {
                while let Some(task) = ready.pop() {
                    task.run();
                }
            })
        });
        let workers = workers.collect::<Result<_, _>>()?;
        Ok(Self { ready, workers: Mutex::new(workers) })
    }

    /// The queue that the workers take tasks from.
    pub fn ready(&self) -> Arc<Ready> {
        Arc::clone(&self.ready)
    }

    /// Lets the workers finish the tasks they run, and ends them.
    pub fn stop(&self) {
        self.ready.close();
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in workers.drain(..) {
            // A worker catches the panics of its tasks; one of its own was printed when it
            // happened.
            let _ = worker.join();
        }
    }
}
