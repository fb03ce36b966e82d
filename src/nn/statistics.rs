//! Running mean and variance of every batch norm: two flat vectors and the views into them.

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::params::{Table, copy};

/// Momentum and epsilon of every batch norm; the variance kept is the unbiased one.
pub const MOMENTUM: f64 = 0.1;
pub const EPSILON: f64 = 1e-5;

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

    /// (running mean, running variance) of the batch norm at `index` in the plan that the search runs.
    fn of(&self, index: usize) -> (&Tensor, &Tensor) {
        let (mean, variance) = &self.views[index];
        (mean, variance)
    }

    /// Running mean and variance as they are now, before a batch norm moves them.
    pub fn remember(&self, index: usize) -> Result<(Tensor, Tensor)> {
        let (mean, variance) = self.of(index);
        Ok((copy(mean)?, copy(variance)?))
    }

    /// Moves the statistics at `alias` by the batch that moved those at `index` from `before` to what they are:
    /// r ← (1 − m)·r + (moved − (1 − m)·before), the last term being m times the batch's own.
    pub fn follow(&self, index: usize, before: &(Tensor, Tensor), alias: usize) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let (moved, followers) = (self.of(index), self.of(alias));
        for (moved, before, running) in [(moved.0, &before.0, followers.0), (moved.1, &before.1, followers.1)] {
            let batch = moved.f_sub(&before.f_mul_scalar(1.0 - MOMENTUM)?)?;
            // Like batch norm's own update, this one is no matter of autograd, which holds the running statistics
            // until the backward pass and would take offence at a new version of them.
            let _ = running.f_data()?.f_mul_scalar_(1.0 - MOMENTUM)?.f_add_(&batch)?;
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
