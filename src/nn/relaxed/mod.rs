//! A network with its relaxation: losses and gradients as functions of (w, α). L(w, α) = ℓ(w, m) with m = R(α), so
//! ∂L/∂α = J_Rᵀ ∂ℓ/∂m, and ∇²_{α,w} L·v = J_Rᵀ ∇_m(∇_w ℓ·v).
//!
//! Batches are divided here: among ranks, and into micro-batches where memory is short. The gradient of a mean over a batch
//! is the mean of the parts' gradients. Batch norm normalises each part by its own statistics, and each has its own noise.

mod curvature;
mod edges;
mod parts;
mod perturbation;
mod relaxations;
mod roles;

use tch::Tensor;

use super::{Along, Buffers, By, Gradients, Loss, Mode, Network};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use parts::Averages;

pub use curvature::ArchHessian;
pub use parts::{Division, Parts};
pub use relaxations::Relaxations;
pub use roles::{Draw, Role};

/// A network and the relaxation of its tables.
#[derive(Clone, Copy)]
pub struct Relaxed<'a> {
    /// The network, a function of mixing weights.
    pub network: &'a dyn Network,
    /// The functions from α to mixing weights.
    pub relaxations: &'a Relaxations,
    /// The number of examples computed at once; None for the whole batch.
    pub micro_batch: Option<usize>,
    /// The ranks that share each batch.
    pub ranks: Ranks<'a>,
}

impl Relaxed<'_> {
    /// Draws the noise of a step for these batches; all losses of the step use it.
    pub fn draw(&self, step: u64, train: Option<&Batch>, valid: Option<&Batch>) -> Result<()> {
        let parts = self.parts(train, valid);
        // Every rank draws for all parts, because kernels that no part touches rest on all ranks.
        let counts = [Role::Weight, Role::Alpha].map(|role| parts.of(role).sizes.len().max(1));
        self.relaxations.draw(step, counts)?;
        self.network.draw(step, &parts)
    }

    /// The same without micro-batches.
    pub fn whole(self) -> Self {
        Relaxed { micro_batch: None, ..self }
    }

    /// How these batches are divided.
    pub fn parts(&self, train: Option<&Batch>, valid: Option<&Batch>) -> Parts {
        Parts([valid, train].map(|batch| batch.map_or_else(Division::default, |batch| self.division(batch))))
    }

    fn division(&self, batch: &Batch) -> Division {
        Division::of(batch, self.micro_batch, self.ranks.rank())
    }

    /// Sets the parameters of an epoch.
    pub fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        self.relaxations.begin_epoch(epoch, epochs)?;
        self.network.begin_epoch(epoch, epochs)
    }

    /// The mixing weights of evaluation: the mean.
    pub fn mean(&self, alpha: &Tensor) -> Result<Tensor> {
        self.relaxations.weights(alpha, Draw::Mean)
    }

    /// The loss of a whole batch, without a graph to α: evaluation uses the mean of the mixing weights and draws as for
    /// its first batch, other modes use the noise of the training losses.
    pub fn loss(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        let draw = if mode == Mode::Evaluation {
            self.network.begin_batch(0)?;
            Draw::Mean
        } else {
            Draw::Part(Role::Weight, 0)
        };
        self.network.loss(w, &self.relaxations.weights(alpha, draw)?, batch, mode)
    }

    /// The loss of a batch and its gradients. Buffers move once, by the mean over the micro-batches.
    pub fn gradients(
        &self,
        w: &Tensor,
        alpha: &Tensor,
        batch: &Batch,
        (mode, role): (Mode, Role),
        by: By,
    ) -> Result<Gradients> {
        let compute = |batch: &Batch, part: usize| -> Result<Gradients> {
            let draw = Draw::Part(role, part);
            self.network.begin_loss(role, part)?;
            let m = self.relaxations.weights(alpha, draw)?;
            let found = match mode {
                Mode::Weights => self.network.gradients(w, &self.perturbed(w, &m, batch, part)?, batch, mode, by)?,
                _ => self.network.gradients(w, &m, batch, mode, by)?,
            };
            let back = |gradient: Tensor| self.relaxations.backward(alpha, &m, &gradient, draw);
            Ok(Gradients { alpha: found.alpha.map(back).transpose()?, ..found })
        };
        let moves = self.network.buffers().filter(|_| mode == Mode::Weights);
        self.over_parts(batch, moves, compute)
    }

    /// The mean over the parts of a batch, of all ranks, of what `compute` returns for a part and its number; `moves`: the
    /// buffers that it moves.
    fn over_parts(
        &self,
        batch: &Batch,
        moves: Option<&dyn Buffers>,
        compute: impl Fn(&Batch, usize) -> Result<Gradients>,
    ) -> Result<Gradients> {
        let division = self.division(batch);
        if self.ranks.alone() && division.sizes.len() == 1 {
            return compute(batch, 0);
        }
        let samples = self.relaxations.relaxation().rule().samples_one();
        let mut averages = moves.map(|moves| Averages::new(&moves.tensors(), samples)).transpose()?;
        let own = self.own_parts(batch, &division, averages.as_mut(), compute);
        // The others wait for the sum.
        let mut mean = self.ranks.or_leave(own)?;
        if !self.ranks.alone() && mean.loss.correct.is_none() {
            // Other ranks may count; NaN says that not all do.
            mean.loss.correct = Some(mean.loss.value.f_full_like(f64::NAN)?);
        }
        let of_buffers = averages.iter_mut().flat_map(Averages::sums);
        self.ranks.sum_all(&mut mean.sums().chain(of_buffers).collect::<Vec<_>>(), self.network.kind())?;
        if let Some(mut averages) = averages {
            averages.exchange(self.ranks)?;
            averages.finish()?;
        }
        Ok(mean)
    }

    /// The part of the mean that this process computes.
    fn own_parts(
        &self,
        batch: &Batch,
        division: &Division,
        mut averages: Option<&mut Averages>,
        compute: impl Fn(&Batch, usize) -> Result<Gradients>,
    ) -> Result<Gradients> {
        let examples: i64 = division.sizes.iter().sum();
        let mut sum: Option<Gradients> = None;
        for (part, size, start) in division.own() {
            let share = size as f64 / examples as f64;
            let found = match division.own.len() {
                1 => compute(batch, part)?,
                _ => compute(&batch.rows(start, start + size)?, part)?,
            };
            let found = found.times(share)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(found)?,
                None => found,
            });
            averages.as_mut().map_or(Ok(()), |averages| averages.add(share))?;
        }
        sum.ok_or_else(|| Error::engine("a batch was divided into no parts"))
    }

    /// The elements of w that do not take part in the losses of a role on a batch, in none of its parts; None if
    /// all do.
    pub fn untouched(&self, alpha: &Tensor, batch: &Batch, role: Role) -> Result<Option<Tensor>> {
        if !self.relaxations.relaxation().rule().samples_one() {
            return Ok(None);
        }
        let mut all: Option<Tensor> = None;
        for part in 0..self.division(batch).sizes.len() {
            let m = self.relaxations.weights(alpha, Draw::Part(role, part))?;
            let Some(touched) = self.network.touched(&m)? else { return Ok(None) };
            all = Some(match all {
                Some(all) => all.f_logical_or(&touched)?,
                None => touched,
            });
        }
        all.map(|touched| Ok(touched.f_logical_not()?)).transpose()
    }

    /// The mixing weights of the weight step on one part of its batch.
    fn perturbed(&self, w: &Tensor, m: &Tensor, batch: &Batch, part: usize) -> Result<Tensor> {
        let loss = |m: &Tensor, by_m: bool| -> Result<(Tensor, Option<Tensor>)> {
            self.network.begin_loss(Role::Weight, part)?;
            let found = match by_m {
                true => self.network.gradients(w, m, batch, Mode::Evaluation, By::Alpha)?,
                false => Gradients::new(self.network.loss(w, m, batch, Mode::Evaluation)?, None, None)?,
            };
            Ok((found.loss.value, found.alpha))
        };
        let perturbed = self.relaxations.perturbed(m, part, &loss)?;
        self.network.begin_loss(Role::Weight, part)?;
        Ok(perturbed)
    }

    /// The derivative of L_train(w, α) along a direction of the weights, with batch statistics, and its gradients:
    /// ∇²_{α,w} L·direction and ∇²_w L·direction.
    pub fn gradients_along(
        &self,
        w: &Tensor,
        alpha: &Tensor,
        along: Along,
        batch: &Batch,
        by: By,
    ) -> Result<Gradients> {
        self.over_parts(batch, None, |batch, part| {
            let draw = Draw::Part(Role::Weight, part);
            self.network.begin_loss(Role::Weight, part)?;
            let m = self.relaxations.weights(alpha, draw)?;
            let found = self.network.gradients_along(w, &m, along, batch, by)?;
            let back = |gradient: Tensor| self.relaxations.backward(alpha, &m, &gradient, draw);
            Ok(Gradients { alpha: found.alpha.map(back).transpose()?, ..found })
        })
    }

    /// ∇²_{α,w} L_train(w, α)·direction, with batch statistics.
    pub fn hessian_product(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, batch: &Batch) -> Result<Tensor> {
        Ok(self.gradients_along(w, alpha, Along::weights(direction), batch, By::Alpha)?.alpha()?.shallow_clone())
    }
}
