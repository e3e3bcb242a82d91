//! A few turns for work that keeps a processor busy, whatever the number of threads: more of it at
//! once only makes each take longer.

use std::sync::{Condvar, Mutex, PoisonError};

/// The turns that are free.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One turn; it is free again when this is dropped.
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    /// As many turns as there are processors.
    pub fn of_processors() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Turns {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Waits for a turn.
    pub fn take(&self) -> Turn<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_work_at_once_than_turns_and_none_is_lost() {
        let turns = Turns {
            free: Mutex::new(2),
            freed: Condvar::new(),
        };
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _turn = turns.take();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.into_inner(), 2);
        assert_eq!(turns.free.into_inner().expect("nobody panicked"), 2);
    }
}
