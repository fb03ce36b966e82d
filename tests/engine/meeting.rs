//! Threads as the ranks of a search.
#![cfg(feature = "torch")]

use std::sync::{Condvar, Mutex};

use pydarts::error::{Error, ErrorKind, Result};
use pydarts::ranks::Collective;
use tch::Tensor;

/// What the threads of a search share.
pub struct Meeting {
    /// The number of ranks.
    pub ranks: usize,
    table: Mutex<Board>,
    changed: Condvar,
}

#[derive(Default)]
struct Board {
    round: u64,
    brought: Vec<Option<Tensor>>,
    sum: Option<Tensor>,
    left: Option<(usize, String, bool)>,
    elements: usize,
}

impl Meeting {
    pub fn new(ranks: usize) -> Self {
        Meeting { ranks, table: Mutex::default(), changed: Condvar::new() }
    }

    /// The number of elements that one rank gave to sums.
    pub fn elements(&self) -> usize {
        self.table.lock().unwrap().elements
    }
}

/// One thread as a rank.
pub struct Seat<'a>(pub &'a Meeting, pub usize);

impl Collective for Seat<'_> {
    fn rank(&self) -> usize {
        self.1
    }

    fn ranks(&self) -> usize {
        self.0.ranks
    }

    fn sum(&self, vector: &Tensor) -> Result<()> {
        let Seat(meeting, rank) = *self;
        let mut board = meeting.table.lock().unwrap();
        let round = board.round;
        board.brought.resize_with(meeting.ranks, || None);
        board.brought[rank] = Some(vector.copy());
        if rank == 0 {
            board.elements += vector.numel();
        }
        if board.brought.iter().all(Option::is_some) {
            let all: Vec<Tensor> = board.brought.drain(..).flatten().collect();
            assert!(all.iter().all(|one| (one.size(), one.kind()) == (vector.size(), vector.kind())), "other vectors");
            board.sum = all.into_iter().reduce(|sum, one| sum + one);
            board.round += 1;
            meeting.changed.notify_all();
        }
        // The next sum needs all ranks, so this one is still there.
        let board = meeting.changed.wait_while(board, |board| board.round == round && board.left.is_none()).unwrap();
        if board.round == round {
            let (rank, why, interrupted) = board.left.clone().unwrap();
            let kind = if interrupted { ErrorKind::Interrupted } else { ErrorKind::Ranks };
            return Err(Error::new(kind, format!("rank {rank} of {} failed: {why}", meeting.ranks)));
        }
        let _guard = tch::no_grad_guard();
        vector.shallow_clone().copy_(board.sum.as_ref().unwrap());
        Ok(())
    }

    fn leave(&self, error: &Error) {
        let reason = (self.1, error.detail.clone(), error.kind == ErrorKind::Interrupted);
        self.0.table.lock().unwrap().left.get_or_insert(reason);
        self.0.changed.notify_all();
    }
}
