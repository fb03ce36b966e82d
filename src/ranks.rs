//! The processes that do one search together, and what they exchange. Each computes its share of every batch; losses,
//! gradients and statistics are summed, so that all of them take the same steps.
//!
//! A failure of one rank must not leave the others waiting. Between steps a failure is exchanged: [`Ranks::agree`]. Inside
//! one, where the others already wait for a sum, the rank leaves ([`Ranks::or_leave`]), and their sum fails. So it does when
//! a rank dies.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, ErrorKind, Result};
use crate::params::{copy, upload};

/// The connection between the ranks of a search.
pub trait Collective {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;
    /// The number of ranks.
    fn ranks(&self) -> usize;
    /// Overwrites a vector with its sum over all ranks, which all call with the same shape and dtype. An error if another
    /// rank has left.
    fn sum(&self, vector: &Tensor) -> Result<()>;
    /// Leaves the other ranks because of an error: what they wait for fails, and so does every later sum.
    fn leave(&self, why: &Error);
}

/// How the ranks stand to each other, as far as this one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bond {
    /// They take the same steps.
    Together,
    /// All know that one of them has failed. They still exchange, to save what they have.
    Ending,
    /// At least one has left or died: nothing can be exchanged.
    Apart,
}

/// The ranks of one search.
pub struct Group<'a> {
    collective: &'a dyn Collective,
    device: Device,
    bond: Cell<Bond>,
}

impl<'a> Group<'a> {
    /// The ranks that `collective` connects; tensors on `device` are exchanged.
    pub fn new(collective: &'a dyn Collective, device: Device) -> Self {
        Group { collective, device, bond: Cell::new(Bond::Together) }
    }
}

/// The ranks of a search as one of them sees them, or one process alone.
#[derive(Clone, Copy, Default)]
pub struct Ranks<'a>(Option<&'a Group<'a>>);

/// The numbers that a rank tells the others.
pub type Row = [i64; 6];

/// The largest number of bytes of the message of a failure.
const MESSAGE: usize = 1000;

impl<'a> Ranks<'a> {
    /// One process alone.
    pub const ALONE: Ranks<'static> = Ranks(None);

    /// The ranks of a group.
    pub fn of(group: &'a Group<'a>) -> Self {
        Ranks(Some(group))
    }

    /// Whether this is one process alone.
    pub fn alone(&self) -> bool {
        self.0.is_none()
    }

    /// The number of this rank.
    pub fn rank(&self) -> usize {
        self.0.map_or(0, |group| group.collective.rank())
    }

    /// The number of ranks.
    pub fn count(&self) -> usize {
        self.0.map_or(1, |group| group.collective.ranks())
    }

    /// The share of this rank.
    pub fn share(&self) -> Share {
        Share { rank: self.rank(), ranks: self.count() }
    }

    /// Overwrites a vector with its sum over the ranks.
    pub fn sum(&self, vector: &Tensor) -> Result<()> {
        let Some(group) = self.0 else { return Ok(()) };
        if group.bond.get() == Bond::Apart {
            return Err(Error::new(ErrorKind::Ranks, "another rank has left this search"));
        }
        group.collective.sum(vector).inspect_err(|error| self.leave(error))
    }

    /// Replaces tensors by their sums over the ranks, which travel as one vector of dtype `kind`.
    pub fn sum_all(&self, tensors: &mut [&mut Tensor], kind: Kind) -> Result<()> {
        if self.alone() || tensors.is_empty() {
            return Ok(());
        }
        let flat = |tensor: &&mut Tensor| Ok::<_, Error>(tensor.f_detach()?.f_to_kind(kind)?.f_reshape([-1])?);
        let vector = Tensor::f_cat(&tensors.iter().map(flat).collect::<Result<Vec<_>>>()?, 0)?;
        self.sum(&vector)?;
        let lengths: Vec<i64> = tensors.iter().map(|tensor| tensor.numel() as i64).collect();
        for (tensor, sum) in tensors.iter_mut().zip(vector.f_split_with_sizes(lengths.as_slice(), 0)?) {
            **tensor = sum.f_reshape(tensor.size().as_slice())?.f_to_kind(tensor.kind())?;
        }
        Ok(())
    }

    /// A tensor of each rank, stacked: [ranks, …].
    pub fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        let shape: Vec<i64> = [self.count() as i64].into_iter().chain(tensor.size()).collect();
        let all = Tensor::f_zeros(shape.as_slice(), (tensor.kind(), tensor.device()))?;
        all.f_select(0, self.rank() as i64)?.f_copy_(tensor)?;
        self.sum(&all)?;
        Ok(all)
    }

    /// Overwrites a tensor with that of rank 0.
    pub fn copy_first(&self, tensor: &Tensor) -> Result<()> {
        if self.alone() {
            return Ok(());
        }
        let _guard = tch::no_grad_guard();
        let first = if self.rank() == 0 { copy(tensor)? } else { tensor.f_detach()?.f_zeros_like()? };
        // Truth values have no sum.
        let first = if first.kind() == Kind::Bool { first.f_to_kind(Kind::Int64)? } else { first };
        self.sum(&first)?;
        Ok(tensor.f_data()?.f_copy_(&first)?)
    }

    /// `own` if no rank failed; else the error of this rank, or the message of the first one that failed. All ranks end
    /// then.
    pub fn agree<T>(&self, own: Result<T>) -> Result<T> {
        self.exchange(own, |_| Row::default()).map(|(own, _)| own)
    }

    /// As [`Ranks::agree`], with numbers that each rank tells the others; of one process alone none.
    pub fn exchange<T>(&self, own: Result<T>, tell: impl FnOnce(&T) -> Row) -> Result<(T, Vec<Row>)> {
        let Some(group) = self.0.filter(|group| group.bond.get() == Bond::Together) else {
            return own.map(|own| (own, Vec::new()));
        };
        let state = match &own {
            Ok(_) => 0,
            Err(error) if error.kind == ErrorKind::Interrupted => 1,
            Err(_) => 2,
        };
        let numbers = own.as_ref().map_or(Row::default(), tell);
        let told: Vec<i64> = [state].into_iter().chain(numbers).collect();
        let told = match self.gather_numbers(&told) {
            Ok(told) => told,
            // A failure of this rank says more than the loss of the others.
            Err(lost) => return Err(own.err().unwrap_or(lost)),
        };
        let Some(failed) = told.iter().position(|row| row[0] != 0) else {
            let rows = told.iter().map(|row| std::array::from_fn(|index| row[index + 1])).collect();
            return own.map(|own| (own, rows));
        };
        group.bond.set(Bond::Ending);
        let message = own.as_ref().err().map_or(String::new(), |error| error.detail.clone());
        let messages = self.gather_text(&message);
        let Err(error) = own else {
            let kind = if told.iter().all(|row| row[0] < 2) { ErrorKind::Interrupted } else { ErrorKind::Ranks };
            let first = told.iter().position(|row| row[0] == 2).unwrap_or(failed);
            return Err(Error::new(kind, format!("rank {first} of {} failed: {}", told.len(), messages?[first])));
        };
        Err(error)
    }

    fn leave(&self, why: &Error) {
        let Some(group) = self.0 else { return };
        if group.bond.replace(Bond::Apart) != Bond::Apart {
            group.collective.leave(why);
        }
    }

    /// Leaves if `result` is an error of which the others do not know, because they already wait for a sum.
    pub fn or_leave<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            if self.0.is_some_and(|group| group.bond.get() == Bond::Together) {
                self.leave(error);
            }
        })
    }

    /// Whether something can still be exchanged.
    pub fn connected(&self) -> bool {
        self.0.is_none_or(|group| group.bond.get() != Bond::Apart)
    }

    /// The sums of some numbers over the ranks that are left: the own ones where nothing can be exchanged.
    pub fn sum_numbers<const N: usize>(&self, own: [f64; N]) -> Result<[f64; N]> {
        let Some(group) = self.0.filter(|_| self.connected()) else { return Ok(own) };
        let all = upload(&Tensor::f_from_slice(&own)?, group.device)?;
        self.sum(&all)?;
        let mut sums = [0.0; N];
        all.f_to_device(Device::Cpu)?.f_copy_data(&mut sums, N)?;
        Ok(sums)
    }

    /// The numbers of each rank.
    pub fn gather_numbers(&self, own: &[i64]) -> Result<Vec<Vec<i64>>> {
        let device = self.0.map_or(Device::Cpu, |group| group.device);
        let all = self.gather(&upload(&Tensor::f_from_slice(own)?, device)?)?;
        let all = Vec::<i64>::try_from(all.f_to_device(Device::Cpu)?.f_reshape([-1])?)?;
        Ok(all.chunks(own.len().max(1)).map(<[i64]>::to_vec).collect())
    }

    /// A text of each rank, cut if it is long.
    fn gather_text(&self, own: &str) -> Result<Vec<String>> {
        let mut bytes: Vec<i64> = own.bytes().take(MESSAGE).map(i64::from).collect();
        bytes.resize(MESSAGE, 0);
        let text = |bytes: &Vec<i64>| {
            let bytes: Vec<u8> = bytes.iter().map_while(|byte| u8::try_from(*byte).ok().filter(|b| *b > 0)).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(self.gather_numbers(&bytes)?.iter().map(text).collect())
    }
}

/// One of several contiguous parts of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The number of the part.
    pub rank: usize,
    /// The number of parts.
    pub ranks: usize,
}

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share { rank: 0, ranks: 1 };

    /// The part of `n` things: first and number.
    pub fn range(&self, n: i64) -> (i64, i64) {
        let (rank, ranks) = (self.rank as i64, self.ranks as i64);
        let (start, end) = (rank * n / ranks, (rank + 1) * n / ranks);
        (start, end - start)
    }
}
