//! What the benchmarks and the counts share: the pieces of the request line that both run, and what these need.
//!
//! A [`Piece`] is something that a request costs, ready to be run as often as wanted: `benches/` says how long that takes,
//! `counts/` how many instructions. How to run them, and what they said, is in `README.md` beside this.

pub mod pieces;
pub mod policies;
pub mod rig;
pub mod ends;

use std::time::Duration;

use mimalloc::MiMalloc;
use tokio::time::Instant;

// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Something that a request costs.
pub struct Piece {
    name: String,
    run: Box<dyn FnMut(u64)>,
}

impl Piece {
    /// Its name: group, slash, what it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does it so many times.
    pub fn run(&mut self, times: u64) {
        (self.run)(times);
    }

    /// How long it takes to do it so many times.
    pub fn time(&mut self, times: u64) -> Duration {
        let began = Instant::now();
        self.run(times);
        began.elapsed()
    }
}

/// A piece that is not made yet: some need a while, and those that nobody asks for need not be made.
pub struct Planned {
    /// The name that the piece will have.
    pub name: String,
    make: Box<dyn FnOnce() -> Box<dyn FnMut(u64)>>,
}

impl Planned {
    /// Plans a piece of this name. What `make` gives does the work as often as it is told.
    pub fn new<T>(name: impl Into<String>, make: impl FnOnce() -> T + 'static) -> Self
    where
        T: FnMut(u64) + 'static,
    {
        Self { name: name.into(), make: Box::new(move || Box::new(make())) }
    }

    /// Makes it.
    pub fn make(self) -> Piece {
        Piece { name: self.name, run: (self.make)() }
    }
}
