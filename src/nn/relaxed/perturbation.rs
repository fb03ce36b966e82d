//! The perturbation of the weight step on the device: its radius, its noise, and the set that it stays in.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use crate::arch::LogitTable;
use crate::error::{Error, Result};
use crate::params::{copy, upload};
use crate::perturbation::{Neighbourhood, Perturbation};
use crate::random;

/// A perturbation of all tables, with the parameters of the current epoch and the noise of the current step.
pub struct Perturbations {
    chosen: Perturbation,
    constants: Vec<f64>,
    /// The parameters, scalars.
    pub(super) values: Vec<Tensor>,
    /// Uniform numbers in [−1, 1) by part of the batch, flat.
    noise: RefCell<Vec<Tensor>>,
    place: (Kind, Device),
}

/// The rows of one table within flat m.
pub(super) struct Rows {
    pub offset: i64,
    pub shape: [i64; 2],
    /// Whether an entry is masked, [rows, columns].
    pub masked: Tensor,
    /// Whether a row is frozen, [rows, 1].
    pub frozen: Tensor,
}

impl Perturbations {
    pub(super) fn new(chosen: &Perturbation, epochs: usize, (kind, device): (Kind, Device)) -> Result<Self> {
        let constants = chosen.at(0, epochs);
        let values = constants.iter().map(|_| Ok(Tensor::f_zeros([0i64; 0], (kind, device))?));
        let values = values.collect::<Result<_>>()?;
        let all = Perturbations {
            chosen: chosen.clone(),
            constants,
            values,
            noise: RefCell::default(),
            place: (kind, device),
        };
        all.begin_epoch(0, epochs)?;
        Ok(all)
    }

    pub(super) fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        for (tensor, value) in self.values.iter().zip(self.chosen.at(epoch, epochs)) {
            let _ = tensor.shallow_clone().f_fill_(value)?;
        }
        Ok(())
    }

    /// Draws the noise of a step for this many parts of the training batch.
    pub(super) fn draw(&self, (seed, step): (u64, u64), tables: &[LogitTable], parts: usize) -> Result<()> {
        let (kind, device) = self.place;
        let mut noise = self.noise.borrow_mut();
        for part in 0..parts {
            let of_table = |table: &LogitTable| {
                let purpose = format!("perturbation.{}.{part}", table.name);
                random::uniform(seed, &purpose, step, table.rows.len() * table.columns, -1.0, 1.0)
            };
            let numbers: Vec<f64> = tables.iter().flat_map(of_table).collect();
            if noise.len() == part {
                noise.push(Tensor::f_zeros([numbers.len() as i64], (kind, device))?);
            }
            noise[part].f_copy_(&upload(&Tensor::f_from_slice(&numbers)?.f_to_kind(kind)?, device)?)?;
        }
        Ok(())
    }

    /// All tensors that a step with this many parts reads.
    pub(super) fn tensors(&self, parts: usize) -> Vec<Tensor> {
        self.values.iter().chain(self.noise.borrow().iter().take(parts)).map(Tensor::shallow_clone).collect()
    }

    /// m′ of a part of the batch; entries of m after those of the logit tables stay. `tables`: those that are perturbed.
    pub(super) fn apply(
        &self,
        m: &Tensor,
        part: usize,
        (tables, shares): (&[Rows], bool),
        loss: &LossAt<'_>,
    ) -> Result<Tensor> {
        let noise = self.noise.borrow();
        let noise = noise.get(part).ok_or_else(|| Error::engine("a perturbation needs noise that was not drawn"))?;
        // Not without gradients: the network needs them. No tensor of ours requires one.
        let lengths = [noise.size()[0], m.size()[0] - noise.size()[0]];
        let parts = m.f_split_with_sizes(lengths, 0)?;
        let (m, rest) = (&parts[0], &parts[1]);
        // Rows are shares of their sum: of 1, unless they are multiplied by the weight of an edge.
        let scale = m.f_ones_like()?;
        for rows in tables.iter().filter(|_| shares) {
            let sums = rows.of(m)?.f_sum_dim_intlist(-1i64, true, None)?;
            let sums = sums.f_masked_fill(&sums.f_eq(0.0)?, 1.0)?;
            rows.of(&scale)?.f_copy_(&sums.f_expand(rows.shape, false)?)?;
        }
        let unit = m.f_div(&scale)?;
        let near = Near { all: self, unit: &unit, scale: &scale, rest, noise, tables, shares, loss };
        let perturbed = self.chosen.rule().perturb(&unit, &near)?;
        near.whole(&perturbed)
    }
}

/// The training loss at flat mixing weights, and its gradient by them if it is requested.
pub(super) type LossAt<'a> = dyn Fn(&Tensor, bool) -> Result<(Tensor, Option<Tensor>)> + 'a;

/// The surroundings of one m, whose rows are divided by their sums.
struct Near<'a> {
    all: &'a Perturbations,
    unit: &'a Tensor,
    scale: &'a Tensor,
    /// What follows the logit tables in m.
    rest: &'a Tensor,
    noise: &'a Tensor,
    tables: &'a [Rows],
    shares: bool,
    loss: &'a LossAt<'a>,
}

impl Near<'_> {
    /// Mixing weights as the network gets them.
    fn whole(&self, point: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_cat(&[&point.f_mul(self.scale)?, self.rest], 0)?)
    }
}

impl Neighbourhood for Near<'_> {
    fn constants(&self) -> &[f64] {
        &self.all.constants
    }

    fn epsilon(&self) -> &Tensor {
        &self.all.values[0]
    }

    fn noise(&self) -> &Tensor {
        self.noise
    }

    fn project(&self, point: &Tensor) -> Result<Tensor> {
        let out = copy(self.unit)?;
        for rows in self.tables {
            let point = rows.of(point)?.f_masked_fill(&rows.masked, f64::NEG_INFINITY)?;
            let mut clipped = point.f_clamp(0.0, 1.0)?;
            if self.shares {
                let sums = clipped.f_sum_dim_intlist(-1i64, true, None)?;
                let largest = clipped.f_zeros_like()?.f_scatter_value(-1, &point.f_argmax(-1, true)?, 1.0)?;
                clipped = largest.f_where_self(&sums.f_eq(0.0)?, &clipped.f_div(&sums)?)?;
            }
            let kept = rows.of(self.unit)?.f_where_self(&rows.frozen, &clipped)?;
            rows.of(&out)?.f_copy_(&kept)?;
        }
        Ok(out)
    }

    fn loss(&self, point: &Tensor) -> Result<Tensor> {
        Ok((self.loss)(&self.whole(point)?, false)?.0)
    }

    fn gradient(&self, point: &Tensor) -> Result<Tensor> {
        let (_, gradient) = (self.loss)(&self.whole(point)?, true)?;
        let gradient = gradient.ok_or_else(|| Error::engine("the gradient of m was not requested"))?;
        Ok(gradient.f_narrow(0, 0, self.scale.size()[0])?.f_mul(self.scale)?)
    }
}

impl Rows {
    /// The view [rows, columns] of this table in flat mixing weights.
    fn of(&self, flat: &Tensor) -> Result<Tensor> {
        Ok(flat.f_narrow(0, self.offset, self.shape[0] * self.shape[1])?.f_view(self.shape)?)
    }
}
