//! Running mean and variance of every batch norm: two flat vectors and the views into them.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::params::{Table, copy};
use crate::plan::{Op, Plan, StatisticId};

/// Momentum and epsilon of every batch norm; the variance kept is the unbiased one.
pub const MOMENTUM: f64 = 0.1;
pub const EPSILON: f64 = 1e-5;

/// Elements of running statistics, each with the one it follows.
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
    /// Mean 0 and variance 1 everywhere.
    pub fn new(table: Table, kind: Kind, device: Device) -> Result<Self> {
        let mean = Tensor::f_zeros([table.total()], (kind, device))?;
        let variance = Tensor::f_ones([table.total()], (kind, device))?;
        let views = table.views(&mean)?.into_iter().zip(table.views(&variance)?).collect();
        Ok(Statistics { table, kind, device, mean, variance, views })
    }

    /// Running mean and variance of batch norms that lie one after the other, as one view each.
    pub fn run<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(Tensor, Tensor)> {
        let (offset, length) = self.table.run(names)?;
        Ok((self.mean.f_narrow(0, offset, length)?, self.variance.f_narrow(0, offset, length)?))
    }

    /// Which elements follow which: those of each batch norm's statistics that a plan moves through another's.
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

    /// All running means, and all running variances: the tensors themselves.
    pub fn vectors(&self) -> [&Tensor; 2] {
        [&self.mean, &self.variance]
    }

    /// Running means and variances as they are now, before a pass moves them.
    pub fn remember(&self) -> Result<(Tensor, Tensor)> {
        Ok((copy(&self.mean)?, copy(&self.variance)?))
    }

    /// Moves followers by the batch that moved their leaders from `before` to what they are:
    /// r ← (1 − m)·r + (moved − (1 − m)·before), the last term being m times the batch's own.
    pub fn follow(&self, who: &Followers, before: &(Tensor, Tensor)) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (running, before) in [(&self.mean, &before.0), (&self.variance, &before.1)] {
            let of = |vector: &Tensor, which: &Tensor| vector.f_index_select(0, which);
            let batch = of(running, &who.leaders)?.f_sub(&of(before, &who.leaders)?.f_mul_scalar(1.0 - MOMENTUM)?)?;
            let moved = of(before, &who.followers)?.f_mul_scalar(1.0 - MOMENTUM)?.f_add(&batch)?;
            // Like batch norm's own update, this one is no matter of autograd, which holds the running statistics
            // until the backward pass and would take offence at a new version of them.
            let _ = running.f_data()?.f_index_copy_(0, &who.followers, &moved)?;
        }
        Ok(())
    }

    /// `<batch norm>.running_mean` and `.running_var`, copies.
    pub fn named(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::with_capacity(2 * self.views.len());
        for (entry, (mean, variance)) in self.table.entries().iter().zip(&self.views) {
            out.push((format!("{}.running_mean", entry.name), copy(mean)?));
            out.push((format!("{}.running_var", entry.name), copy(variance)?));
        }
        Ok(out)
    }

    /// The names that [`Statistics::named`] gives, with their shapes.
    pub fn table(&self) -> Table {
        Table::new(self.table.entries().iter().flat_map(|e| {
            let shape = vec![e.length as usize];
            [(format!("{}.running_mean", e.name), shape.clone()), (format!("{}.running_var", e.name), shape)]
        }))
    }

    /// Copies values in; `tensors` must hold exactly the names of [`Statistics::table`].
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
