//! How a batch is divided: among the ranks of a search, and each share into micro-batches. A loss is the mean over all
//! parts, each weighted by its share of the examples.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::roles::Role;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::gradients::add;
use crate::nn::{Gradients, Loss};
use crate::params::copy;
use crate::ranks::Ranks;

/// The parts of a batch, of all ranks in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// The number of examples of each part.
    pub sizes: Vec<i64>,
    /// The parts of this rank.
    pub own: Range<usize>,
}

impl Division {
    /// Divides a batch into micro-batches of at most `most` examples, whose sizes differ by at most one.
    pub fn of(batch: &Batch, most: Option<usize>, rank: usize) -> Self {
        let whole = [batch.inputs.size().first().copied().unwrap_or(0)];
        let shares = batch.shares.as_deref().unwrap_or(&whole);
        let own_share = if batch.shares.is_some() { rank } else { 0 };
        let mut division = Division::default();
        for (index, examples) in shares.iter().enumerate() {
            let first = division.sizes.len();
            let most = most.map_or(*examples, |most| most as i64).max(1);
            let count = ((examples + most - 1) / most).max(1);
            division.sizes.extend((0..count).map(|index| (index + 1) * examples / count - index * examples / count));
            if index == own_share {
                division.own = first..division.sizes.len();
            }
        }
        division
    }

    /// The own parts of a batch: number, size and first row each.
    pub fn own(&self) -> impl Iterator<Item = (usize, i64, i64)> {
        let sized = self.own.clone().map(|part| (part, self.sizes[part]));
        sized.scan(0, |before, (part, size)| {
            *before += size;
            Some((part, size, *before - size))
        })
    }
}

/// The divisions of the batches of a step, by [`Role`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(pub [Division; 2]);

impl Parts {
    /// The division of the batch of a role.
    pub fn of(&self, role: Role) -> &Division {
        &self.0[role as usize]
    }
}

/// Means of the buffers that parts move, each from the same beginning. Whole numbers, such as counts, move as the last
/// part moves them. Where operations are sampled, a buffer moves by the mean over the parts that move it, and a whole
/// number as the last of these does.
pub struct Averages {
    buffers: Vec<Average>,
    samples: bool,
}

struct Average {
    live: Tensor,
    before: Tensor,
    /// Of a floating buffer the mean, or where operations are sampled the mean change; of whole numbers the last.
    found: Tensor,
    /// Where operations are sampled, the shares of the parts that moved each element; None for whole numbers.
    moved: Option<Tensor>,
}

impl Averages {
    /// Before the first part; `samples`: operations are sampled.
    pub fn new(live: &[&Tensor], samples: bool) -> Result<Self> {
        let average = |live: &&Tensor| -> Result<Average> {
            let floating = live.is_floating_point();
            Ok(Average {
                live: live.shallow_clone(),
                before: copy(live)?,
                found: if floating { live.f_zeros_like()? } else { copy(live)? },
                moved: (samples && floating).then(|| live.f_zeros_like()).transpose()?,
            })
        };
        Ok(Averages { buffers: live.iter().map(average).collect::<Result<_>>()?, samples })
    }

    /// Adds what a part moved, and restores the beginning.
    pub fn add(&mut self, share: f64) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for Average { live, before, found, moved } in &mut self.buffers {
            let changes = self.samples.then(|| live.f_ne_tensor(before)).transpose()?;
            *found = match (live.is_floating_point(), &changes) {
                (true, Some(changes)) => {
                    let change = live.f_sub(before)?.f_where_self(changes, &live.f_zeros_like()?)?;
                    found.f_add(&change.f_mul_scalar(share)?)?
                }
                (true, None) => found.f_add(&live.f_mul_scalar(share)?)?,
                (false, Some(changes)) => live.f_where_self(changes, found)?,
                (false, None) => copy(live)?,
            };
            if let (Some(moved), Some(changes)) = (moved, changes) {
                *moved = moved.f_add(&changes.f_to_kind(live.kind())?.f_mul_scalar(share)?)?;
            }
            live.f_data()?.f_copy_(before)?;
        }
        Ok(())
    }

    /// What the ranks sum.
    pub fn sums(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let floating = self.buffers.iter_mut().filter(|buffer| buffer.live.is_floating_point());
        floating.flat_map(|buffer| [&mut buffer.found].into_iter().chain(&mut buffer.moved))
    }

    /// Replaces whole numbers by those of the last rank, or of the last one that moved them.
    pub fn exchange(&mut self, ranks: Ranks) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let samples = self.samples;
        let mut whole: Vec<&mut Average> =
            self.buffers.iter_mut().filter(|buffer| !buffer.live.is_floating_point()).collect();
        if ranks.alone() || whole.is_empty() {
            return Ok(());
        }
        let flat = |tensor: &Tensor| Ok::<_, Error>(tensor.f_to_kind(Kind::Int64)?.f_reshape([-1])?);
        let mut told = Vec::new();
        for buffer in &whole {
            told.push(flat(&buffer.found)?);
            if samples {
                told.push(flat(&buffer.found.f_ne_tensor(&buffer.before)?)?);
            }
        }
        let all = ranks.gather(&Tensor::f_cat(&told, 0)?)?;
        let mut at = 0;
        for buffer in &mut whole {
            let (size, count) = (buffer.live.size(), buffer.live.numel() as i64);
            let of_rank = |rank: usize, at: i64| all.f_select(0, rank as i64)?.f_narrow(0, at, count);
            let mut found = of_rank(ranks.count() - 1, at)?;
            if samples {
                found = flat(&buffer.before)?;
                for rank in 0..ranks.count() {
                    let moved = of_rank(rank, at + count)?.f_ne(0)?;
                    found = of_rank(rank, at)?.f_where_self(&moved, &found)?;
                }
                at += count;
            }
            at += count;
            buffer.found = found.f_reshape(size.as_slice())?.f_to_kind(buffer.live.kind())?;
        }
        Ok(())
    }

    /// Sets the means.
    pub fn finish(self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for Average { live, before, found, moved } in self.buffers {
            let end = match moved {
                Some(shares) => {
                    let mean = found.f_div(&shares.f_clamp_min(f64::MIN_POSITIVE)?)?;
                    before.f_add(&mean)?.f_where_self(&shares.f_gt(0.0)?, &before)?
                }
                None => found,
            };
            live.f_data()?.f_copy_(&end)?;
        }
        Ok(())
    }
}

impl Gradients {
    /// This part of a mean.
    pub(super) fn times(self, share: f64) -> Result<Self> {
        let by = |tensor: Tensor| Ok::<_, Error>(tensor.f_mul_scalar(share)?);
        let loss = Loss { value: by(self.loss.value)?, ..self.loss };
        Ok(Gradients { loss, alpha: self.alpha.map(by).transpose()?, w: self.w.map(by).transpose()? })
    }

    /// The sum of two parts of a mean.
    pub(super) fn plus(self, other: Gradients) -> Result<Self> {
        let sum = |mut one: Option<Tensor>, other: Option<Tensor>| -> Result<_> {
            add(&mut one, other)?;
            Ok(one)
        };
        let loss = Loss {
            value: self.loss.value.f_add(&other.loss.value)?,
            correct: sum(self.loss.correct, other.loss.correct)?,
            carried: None,
        };
        Ok(Gradients { loss, alpha: sum(self.alpha, other.alpha)?, w: sum(self.w, other.w)? })
    }

    /// What the ranks sum.
    pub(super) fn sums(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let Gradients { loss, alpha, w } = self;
        [&mut loss.value].into_iter().chain(&mut loss.correct).chain(alpha).chain(w)
    }
}
