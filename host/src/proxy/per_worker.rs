//! One of something for each worker, so that no two workers write to the same cache line.

/// A slot for each worker.
pub struct PerWorker<T>(Box<[Padded<T>]>);

// Two lines of 64 bytes: the hardware fetches them in pairs.
#[repr(align(128))]
struct Padded<T>(T);

impl<T> PerWorker<T> {
    /// Makes a slot for each of `workers`.
    pub fn new(workers: usize, mut make: impl FnMut(usize) -> T) -> Self {
        Self((0..workers).map(|worker| Padded(make(worker))).collect())
    }

    /// This worker's slot.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    /// All slots: what a reader adds up.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|slot| &slot.0)
    }
}
