//! The running mean and variance of every batch norm: two flat vectors and views of them.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::params::{Table, copy};
use crate::plan::{Op, Plan, StatisticId};

/// The momentum and epsilon of every batch norm. The running variance is unbiased.
pub const MOMENTUM: f64 = 0.1;
pub const EPSILON: f64 = 1e-5;

/// Elements of the running statistics, each with the element that it follows.
#[derive(Debug)]
pub struct Followers {
    leaders: Tensor,
    followers: Tensor,
}

/// The running statistics of a network.
#[derive(Debug)]
pub struct Statistics {
    table: Table,
    kind: Kind,
    device: Device,
    mean: Tensor,
    variance: Tensor,
    views: Vec<(Tensor, Tensor)>,
}

impl Statistics {
    /// All means 0, all variances 1.
    pub fn new(table: Table, kind: Kind, device: Device) -> Result<Self> {
        let mean = Tensor::f_zeros([table.total()], (kind, device))?;
        let variance = Tensor::f_ones([table.total()], (kind, device))?;
        let views = table.views(&mean)?.into_iter().zip(table.views(&variance)?).collect();
        Ok(Statistics { table, kind, device, mean, variance, views })
    }

    /// The running mean and variance of consecutive batch norms, as one view each.
    pub fn run<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(Tensor, Tensor)> {
        let (offset, length) = self.table.run(names)?;
        Ok((self.mean.f_narrow(0, offset, length)?, self.variance.f_narrow(0, offset, length)?))
    }

    /// The statistics that a plan moves through those of another batch norm; None if there are none.
    pub fn followers(&self, plan: &Plan) -> Result<Option<Followers>> {
        let elements = |id: StatisticId| {
            let entry = &self.table.entries()[id.0];
            entry.offset..entry.offset + entry.length
        };
        let (mut leaders, mut followers) = (Vec::<i64>::new(), Vec::<i64>::new());
        for instruction in &plan.instructions {
            let Op::BatchNorm { statistic, aliases, .. } = &instruction.op else { continue };
            for alias in aliases {
                leaders.extend(elements(*statistic));
                followers.extend(elements(*alias));
            }
        }
        if followers.is_empty() {
            return Ok(None);
        }
        let indices = |of: &[i64]| Ok::<_, Error>(Tensor::f_from_slice(of)?.f_to_device(self.device)?);
        Ok(Some(Followers { leaders: indices(&leaders)?, followers: indices(&followers)? }))
    }

    /// All running means and all running variances, not copied.
    pub fn vectors(&self) -> [&Tensor; 2] {
        [&self.mean, &self.variance]
    }

    /// Copies of the running means and variances, taken before a pass moves them.
    pub fn remember(&self) -> Result<(Tensor, Tensor)> {
        Ok((copy(&self.mean)?, copy(&self.variance)?))
    }

    /// Moves followers by the batch that moved their leaders from `before` to `moved`:
    /// r ← (1 − m)·r + (moved − (1 − m)·before). The last term is m times the statistics of the batch.
    pub fn follow(&self, followers: &Followers, before: &(Tensor, Tensor)) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (running, before) in [(&self.mean, &before.0), (&self.variance, &before.1)] {
            let of = |vector: &Tensor, which: &Tensor| vector.f_index_select(0, which);
            let batch = of(running, &followers.leaders)?
                .f_sub(&of(before, &followers.leaders)?.f_mul_scalar(1.0 - MOMENTUM)?)?;
            let moved = of(before, &followers.followers)?.f_mul_scalar(1.0 - MOMENTUM)?.f_add(&batch)?;
            // Like batch norm's own update, this one is invisible to autograd, which saves the running statistics for
            // the backward pass and raises an error if their version changes.
            let _ = running.f_data()?.f_index_copy_(0, &followers.followers, &moved)?;
        }
        Ok(())
    }

    /// Copies of `<batch norm>.running_mean` and `.running_var`.
    pub fn named(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::with_capacity(2 * self.views.len());
        for (entry, (mean, variance)) in self.table.entries().iter().zip(&self.views) {
            out.push((format!("{}.running_mean", entry.name), copy(mean)?));
            out.push((format!("{}.running_var", entry.name), copy(variance)?));
        }
        Ok(out)
    }

    /// The names of [`Statistics::named`] with their shapes.
    pub fn table(&self) -> Table {
        Table::new(self.table.entries().iter().flat_map(|e| {
            let shape = vec![e.length as usize];
            [(format!("{}.running_mean", e.name), shape.clone()), (format!("{}.running_var", e.name), shape)]
        }))
    }

    /// Overwrites the statistics; `tensors` must have exactly the names of [`Statistics::table`].
    pub fn load(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let flat = self.table().pack(tensors, self.kind, self.device)?;
        let _guard = tch::no_grad_guard();
        for (pair, (mean, variance)) in self.table().views(&flat)?.chunks(2).zip(&self.views) {
            mean.shallow_clone().f_copy_(&pair[0])?;
            variance.shallow_clone().f_copy_(&pair[1])?;
        }
        Ok(())
    }
}
