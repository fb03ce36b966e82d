//! A network with its relaxation: losses and gradients as functions of (w, α). L(w, α) = ℓ(w, m) with m = R(α), so
//! ∂L/∂α = J_Rᵀ ∂ℓ/∂m, and ∇²_{α,w} L·v = J_Rᵀ ∇_m(∇_w ℓ·v).
//!
//! Batches that do not fit into memory are divided into micro-batches here: the gradient of a mean over a batch is the
//! mean of the micro-batches' gradients. Batch norm normalises each micro-batch by its own statistics, and each has its
//! own noise.

mod curvature;
mod edges;
mod perturbation;
mod relaxations;
mod roles;

use tch::Tensor;

use super::gradients::add;
use super::{Along, Buffers, By, Gradients, Loss, Mode, Network};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::params::copy;

pub use curvature::ArchHessian;
pub use relaxations::Relaxations;
pub use roles::{Draw, Role};

/// The sizes of the parts of the batches of a step: by [`Role`], micro-batch by micro-batch.
pub type Parts = [Vec<i64>; 2];

/// A network and the relaxation of its tables.
#[derive(Clone, Copy)]
pub struct Relaxed<'a> {
    /// The network, a function of mixing weights.
    pub network: &'a dyn Network,
    /// The functions from α to mixing weights.
    pub relaxations: &'a Relaxations,
    /// The number of examples computed at once; None for the whole batch.
    pub micro_batch: Option<usize>,
}

impl Relaxed<'_> {
    /// Draws the noise of a step for these batches; all losses of the step use it.
    pub fn draw(&self, step: u64, train: Option<&Batch>, valid: Option<&Batch>) -> Result<()> {
        let examples = self.parts(train, valid);
        let [alpha, weight] = [&examples[0], &examples[1]].map(|sizes| sizes.len().max(1));
        self.relaxations.draw(step, [weight, alpha])?;
        self.network.draw(step, &examples)
    }

    /// The same without micro-batches.
    pub fn whole(self) -> Self {
        Relaxed { micro_batch: None, ..self }
    }

    /// The sizes of the parts of these batches.
    pub fn parts(&self, train: Option<&Batch>, valid: Option<&Batch>) -> Parts {
        [valid, train].map(|batch| batch.map_or(Vec::new(), |batch| sizes(batch, self.micro_batch)))
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

    /// The mean over the micro-batches, each with its number, of what `compute` returns; `moves`: the buffers that it
    /// moves.
    fn over_parts(
        &self,
        batch: &Batch,
        moves: Option<&dyn Buffers>,
        compute: impl Fn(&Batch, usize) -> Result<Gradients>,
    ) -> Result<Gradients> {
        let Some(micro_batches) = divide(batch, self.micro_batch)? else { return compute(batch, 0) };
        let samples = self.relaxations.relaxation().rule().samples_one();
        let mut buffers = moves.map(|moves| Averages::new(&moves.tensors(), samples)).transpose()?;
        let mut sum: Option<Gradients> = None;
        for (part, (micro_batch, share)) in micro_batches.iter().enumerate() {
            let found = compute(micro_batch, part)?.times(*share)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(found)?,
                None => found,
            });
            if let Some(buffers) = &mut buffers {
                buffers.add(*share, part + 1 == micro_batches.len())?;
            }
        }
        sum.ok_or_else(|| Error::engine("a batch was divided into no micro-batches"))
    }

    /// The elements of w that do not take part in the losses of a role on a batch, in none of its micro-batches; None if
    /// all do.
    pub fn untouched(&self, alpha: &Tensor, batch: &Batch, role: Role) -> Result<Option<Tensor>> {
        if !self.relaxations.relaxation().rule().samples_one() {
            return Ok(None);
        }
        let mut all: Option<Tensor> = None;
        for part in 0..parts(batch, self.micro_batch) as usize {
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

/// The number of micro-batches of at most `most` examples.
fn parts(batch: &Batch, most: Option<usize>) -> i64 {
    let examples = batch.inputs.size().first().copied().unwrap_or(0);
    let most = most.map_or(examples, |most| most as i64).max(1);
    ((examples + most - 1) / most).max(1)
}

/// The sizes of the micro-batches of a batch.
fn sizes(batch: &Batch, most: Option<usize>) -> Vec<i64> {
    let (count, examples) = (parts(batch, most), batch.inputs.size().first().copied().unwrap_or(0));
    (0..count).map(|index| (index + 1) * examples / count - index * examples / count).collect()
}

/// Divides a batch into micro-batches whose sizes differ by at most one. Each comes with its share of the batch. None
/// if one micro-batch is enough.
fn divide(batch: &Batch, most: Option<usize>) -> Result<Option<Vec<(Batch, f64)>>> {
    let count = parts(batch, most);
    if count < 2 {
        return Ok(None);
    }
    let examples = batch.inputs.size()[0];
    let micro_batch = |index: i64| {
        let (start, end) = (index * examples / count, (index + 1) * examples / count);
        Ok((batch.rows(start, end)?, (end - start) as f64 / examples as f64))
    };
    (0..count).map(micro_batch).collect::<Result<_>>().map(Some)
}

/// Means of the buffers that micro-batches move, each from the same beginning. Whole numbers, such as counts, move as
/// the last micro-batch moves them. Where operations are sampled, a buffer moves by the mean over the micro-batches that
/// move it, and a whole number as the last of these does.
struct Averages {
    live: Vec<Tensor>,
    before: Vec<Tensor>,
    sums: Vec<Option<Tensor>>,
    /// The shares of the micro-batches that moved each element; None unless operations are sampled.
    moved: Option<Vec<Option<Tensor>>>,
}

impl Averages {
    fn new(live: &[&Tensor], samples: bool) -> Result<Self> {
        let before = live.iter().map(|tensor| copy(tensor)).collect::<Result<_>>()?;
        let live: Vec<Tensor> = live.iter().map(|tensor| tensor.shallow_clone()).collect();
        let none = || live.iter().map(|_| None).collect();
        Ok(Averages { before, sums: none(), moved: samples.then(none), live })
    }

    /// Adds what a micro-batch moved, and restores the beginning, or after the last one sets the means.
    fn add(&mut self, share: f64, last: bool) -> Result<()> {
        let _guard = tch::no_grad_guard();
        if let Some(moved) = &mut self.moved {
            for (((live, before), sum), shares) in self.live.iter().zip(&self.before).zip(&mut self.sums).zip(moved) {
                let changes = live.f_ne_tensor(before)?;
                if live.is_floating_point() {
                    let change = live.f_sub(before)?.f_where_self(&changes, &live.f_zeros_like()?)?;
                    add(sum, Some(change.f_mul_scalar(share)?))?;
                    add(shares, Some(changes.f_to_kind(live.kind())?.f_mul_scalar(share)?))?;
                } else {
                    let earlier = sum.as_ref().unwrap_or(before);
                    *sum = Some(live.f_where_self(&changes, earlier)?);
                }
                let end = match (last, &*sum, &*shares) {
                    (false, ..) | (_, None, _) => before.shallow_clone(),
                    (_, Some(sum), None) => sum.shallow_clone(),
                    (_, Some(sum), Some(shares)) => {
                        let mean = sum.f_div(&shares.f_clamp_min(f64::MIN_POSITIVE)?)?;
                        before.f_add(&mean)?.f_where_self(&shares.f_gt(0.0)?, before)?
                    }
                };
                live.f_data()?.f_copy_(&end)?;
            }
            return Ok(());
        }
        for ((live, before), sum) in self.live.iter().zip(&self.before).zip(&mut self.sums) {
            if live.is_floating_point() {
                add(sum, Some(live.f_mul_scalar(share)?))?;
            }
            match (last, &sum) {
                (false, _) => live.f_data()?.f_copy_(before)?,
                (true, Some(mean)) => live.f_data()?.f_copy_(mean)?,
                (true, None) => {}
            }
        }
        Ok(())
    }
}

impl Gradients {
    fn times(self, factor: f64) -> Result<Self> {
        let by = |tensor: Tensor| Ok::<_, Error>(tensor.f_mul_scalar(factor)?);
        let loss = Loss { value: by(self.loss.value)?, ..self.loss };
        Ok(Gradients { loss, alpha: self.alpha.map(by).transpose()?, w: self.w.map(by).transpose()? })
    }

    fn plus(self, other: Gradients) -> Result<Self> {
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
}
