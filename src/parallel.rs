//! Work that several threads do at the same time.

use std::iter;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder, ScopedJoinHandle};

/// More are no faster for what is done with files, and take more from the builds beside them.
const PROCESSORS_MAX: usize = 4;

/// Threads for work that keeps processors busy.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(PROCESSORS_MAX)
}

/// Does the same with every item, by at most so many threads, and begins in the items' order; what
/// comes of it is in that order too. Where threads cannot be had, it takes longer.
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    // Relaxed: each number is given out once, and nothing else is passed on by it.
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        items.get(number).map(|item| (number, work(item)))
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let others = 1..threads.min(items.len());
        let work = || iter::from_fn(take).collect::<Vec<_>>();
        let others: Vec<_> =
            others.map_while(|_| Builder::new().spawn_scoped(scope, work).ok()).collect();
        let own = work();
        let joined = others.into_iter().map(ScopedJoinHandle::join);
        let others = joined.map(|done| done.unwrap_or_else(|panic| resume_unwind(panic)));
        own.into_iter().chain(others.flatten()).collect()
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What comes of two pieces of work that are done at the same time, the first by another thread.
pub fn both<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let own = own();
        (other.join().unwrap_or_else(|panic| resume_unwind(panic)), own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_items() {
        for threads in [0, 1, 2, 7] {
            for count in [0, 1, 2, 1000_u32] {
                let items: Vec<u32> = (0..count).collect();
                let doubled: Vec<u32> = items.iter().map(|number| number * 2).collect();
                assert_eq!(map(&items, threads, |number| number * 2), doubled);
            }
        }
    }
}
