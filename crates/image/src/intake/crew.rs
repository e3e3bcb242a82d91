//! Threads that decompress while the first thread reads and writes.
//!
//! They start before the system-call filter is installed, because it forbids starting any, and
//! wait behind it for work. What this file does *not* do: touch a descriptor.

use super::qcow2::{Batch, Inflater};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread::Builder;

/// The stack of a thread; decompression needs little.
const STACK_BYTES: usize = 512 << 10;

/// The threads, or nobody: then the work is done where it is given.
#[derive(Default)]
pub struct Crew {
    lines: Option<Lines>,
    workers: usize,
}

struct Lines {
    todo: Sender<Batch>,
    done: Receiver<Batch>,
}

impl Crew {
    /// Starts up to `workers` threads and waits until they are ready to be locked in.
    ///
    /// Fewer threads than asked for, or none, are no error.
    pub fn start(workers: usize) -> Self {
        let (todo, waiting) = channel();
        let (finished, done) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut started = 0;
        for _ in 0..workers {
            let (waiting, finished) = (Arc::clone(&waiting), finished.clone());
            let ready = Arc::new(Barrier::new(2));
            let theirs = Arc::clone(&ready);
            let body = move || {
                theirs.wait();
                work(&waiting, &finished);
            };
            if Builder::new().stack_size(STACK_BYTES).spawn(body).is_err() {
                break;
            }
            ready.wait();
            started += 1;
        }
        if started == 0 {
            return Crew::default();
        }
        Crew {
            lines: Some(Lines { todo, done }),
            workers: started,
        }
    }

    /// How many batches can be under way without waiting.
    pub fn depth(&self) -> usize {
        self.workers * 2
    }

    /// Hands over a batch; it comes back at once when there is nobody to do it.
    pub fn give(&self, batch: Batch) -> Option<Batch> {
        match &self.lines {
            Some(lines) => lines.todo.send(batch).err().map(|refused| refused.0),
            None => Some(batch),
        }
    }

    /// Waits for a batch that is done; `None` when every thread has died.
    pub fn take(&self) -> Option<Batch> {
        self.lines.as_ref().and_then(|lines| lines.done.recv().ok())
    }
}

/// One thread: batches in, batches out, until the other side is gone.
fn work(waiting: &Mutex<Receiver<Batch>>, finished: &Sender<Batch>) {
    let mut inflater = None::<Inflater>;
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(mut batch) = next else { return };
        // A batch must come back, or the first thread would wait for it; it then says it is broken.
        let inflating = catch_unwind(AssertUnwindSafe(|| batch.inflate(&mut inflater)));
        if inflating.is_err() {
            inflater = None;
        }
        if finished.send(batch).is_err() {
            return;
        }
    }
}
