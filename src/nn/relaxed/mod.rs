//! A network with its relaxation: losses and gradients as functions of (w, α). L(w, α) = ℓ(w, m) with m = R(α), so
//! ∂L/∂α = J_Rᵀ ∂ℓ/∂m, and ∇²_{α,w} L·v = J_Rᵀ ∇_m(∇_w ℓ·v).
//!
//! Batches that do not fit into memory are divided into micro-batches here: the gradient of a mean over a batch is the
//! mean of the micro-batches' gradients. Batch norm normalises each micro-batch by its own statistics, and each has its
//! own noise.

mod relaxations;

use tch::Tensor;

use super::gradients::add;
use super::{By, Gradients, Loss, Mode, Network};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::params::copy;

pub use relaxations::{Draw, Relaxations, Role};

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
        let examples = [valid, train].map(|batch| batch.map_or(Vec::new(), |batch| sizes(batch, self.micro_batch)));
        let [alpha, weight] = [&examples[0], &examples[1]].map(|sizes| sizes.len().max(1));
        self.relaxations.draw(step, [weight, alpha])?;
        self.network.draw(step, &examples)
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

    /// The loss of a whole batch, without a graph to α: evaluation uses the mean of the mixing weights, other modes
    /// the noise of the training losses.
    pub fn loss(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        let draw = if mode == Mode::Evaluation { Draw::Mean } else { Draw::Part(Role::Weight, 0) };
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
            let found = self.network.gradients(w, &m, batch, mode, by)?;
            let back = |gradient: Tensor| self.relaxations.backward(alpha, &m, &gradient, draw);
            Ok(Gradients { alpha: found.alpha.map(back).transpose()?, ..found })
        };
        let Some(micro_batches) = divide(batch, self.micro_batch)? else { return compute(batch, 0) };
        let moves = self.network.buffers().filter(|_| mode == Mode::Weights);
        let mut buffers = moves.map(|moves| Averages::new(&moves.tensors())).transpose()?;
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

    /// ∇²_{α,w} L_train(w, α)·direction, with batch statistics.
    pub fn hessian_product(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, batch: &Batch) -> Result<Tensor> {
        let compute = |batch: &Batch, part: usize| -> Result<Tensor> {
            let draw = Draw::Part(Role::Weight, part);
            self.network.begin_loss(Role::Weight, part)?;
            let m = self.relaxations.weights(alpha, draw)?;
            let product = self.network.hessian_product(w, &m, direction, batch)?;
            self.relaxations.backward(alpha, &m, &product, draw)
        };
        let Some(micro_batches) = divide(batch, self.micro_batch)? else { return compute(batch, 0) };
        let mut sum = None;
        for (part, (micro_batch, share)) in micro_batches.iter().enumerate() {
            add(&mut sum, Some(compute(micro_batch, part)?.f_mul_scalar(*share)?))?;
        }
        sum.ok_or_else(|| Error::engine("a batch was divided into no micro-batches"))
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
/// the last micro-batch moves them.
struct Averages {
    live: Vec<Tensor>,
    before: Vec<Tensor>,
    sums: Vec<Option<Tensor>>,
}

impl Averages {
    fn new(live: &[&Tensor]) -> Result<Self> {
        let before = live.iter().map(|tensor| copy(tensor)).collect::<Result<_>>()?;
        let live: Vec<Tensor> = live.iter().map(|tensor| tensor.shallow_clone()).collect();
        Ok(Averages { before, sums: live.iter().map(|_| None).collect(), live })
    }

    /// Adds what a micro-batch moved, and restores the beginning, or after the last one sets the means.
    fn add(&mut self, share: f64, last: bool) -> Result<()> {
        let _guard = tch::no_grad_guard();
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
