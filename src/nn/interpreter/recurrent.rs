//! The operations of a recurrent network: embedding, dropout, matrix products, gated activations and the decoder.

use tch::Tensor;

use super::executable::Prepared;
use super::execute::Forward;
use super::weight_gradients::Deferred;
use crate::error::{Error, Result};
use crate::nn::kernels::cross_entropy::Decoder;
use crate::nn::kernels::gates::GateMixture;
use crate::nn::precision::in_kind;
use crate::plan::{AlphaId, DropoutTarget, Instruction, Op, WeightId};
use crate::space::Operation;

impl Forward<'_> {
    /// The rows of an embedding for tokens `x`.
    pub(super) fn lookup(&self, x: &Tensor, weight: WeightId) -> Result<Tensor> {
        let weight = self.weight(weight);
        let rows = match self.mask(DropoutTarget::Rows) {
            Some(mask) => weight.f_mul(mask)?,
            None => weight.shallow_clone(),
        };
        in_kind(&Tensor::f_embedding(&rows, x, -1, false, false)?, self.compute)
    }

    /// `x` times a dropout mask.
    pub(super) fn dropout(&self, x: &Tensor, target: DropoutTarget) -> Result<Tensor> {
        match self.mask(target) {
            Some(mask) => Ok(x.f_mul(&in_kind(mask, self.compute)?)?),
            None => Ok(x.shallow_clone()),
        }
    }

    /// `x` times `count` rows of a matrix, from `first`; the gradient of the matrix is deferred if that is faster.
    pub(super) fn product(&self, x: &Tensor, weight: WeightId, (first, count): (usize, usize)) -> Result<Tensor> {
        let whole = self.weight(weight);
        let times = |whole: &Tensor| {
            let rows = whole.f_narrow(0, first as i64, count as i64)?;
            Ok::<_, Error>(x.f_matmul(&in_kind(&rows, self.compute)?)?)
        };
        let deferred = self.deferred.as_ref().filter(|_| Deferred::applies_to_product(x, whole));
        let Some(deferred) = deferred else { return times(whole) };
        let y = times(&whole.f_detach()?)?;
        deferred.borrow_mut().push(Deferred::product(self.weight_leaf(weight), first, x, &y)?);
        Ok(y)
    }

    /// The mixture of all gates of a node, by the CPU kernel where it applies; `rows`: the number of states.
    pub(super) fn gates(
        &self,
        (states, gates): (&Tensor, &Tensor),
        alpha: AlphaId,
        rows: usize,
        activations: &[(usize, Operation)],
        prepared: &Prepared,
    ) -> Result<Tensor> {
        let mixing = &self.mixing[alpha.0];
        let weights = in_kind(&mixing.matrix(prepared.scale, [rows, activations.len()])?, self.compute)?;
        let deferred = self.deferred.as_ref().filter(|_| Deferred::applies_to_gates(states, gates));
        let Some(deferred) = deferred else { return gate_mixture(activations, states, gates, &weights) };
        let mixture = GateMixture::new(activations, states, gates, &weights)?;
        let leaf = self.executable.scale_leaf(self.mixing, alpha, prepared.scale);
        let (y, one) = Deferred::gates(leaf, mixture, [states, gates])?;
        if mixing.scale(prepared.scale).requires_grad() {
            deferred.borrow_mut().push(one);
        }
        Ok(y)
    }

    /// The mean cross-entropy of the `decoder` applied to `x`, the output after dropout, and the number of `targets`
    /// with the largest logit; None if the CPU kernel does not apply.
    pub fn decoder_loss(
        &self,
        decoder: &Instruction,
        x: &Tensor,
        targets: &Tensor,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let (Op::Linear { weight, bias }, Some(deferred)) = (&decoder.op, &self.deferred) else { return Ok(None) };
        let leaves = [weight, bias].map(|id| self.weight_leaf(*id));
        let decoder = Decoder { weight: self.weight(*weight), bias: self.weight(*bias) };
        if !decoder.applies_to(x) {
            return Ok(None);
        }
        let result = decoder.loss(x, targets, self.mask(DropoutTarget::Output), decoder.weight.requires_grad())?;
        let correct = result.correct.shallow_clone();
        let (loss, gradients) = Deferred::loss(result, x, leaves)?;
        deferred.borrow_mut().extend(gradients);
        Ok(Some((loss, correct)))
    }

    /// s + σ(c)·(f(u) − s) for states s [N, units] and gates [c, u] [N, 2 · units].
    pub(super) fn gate(&self, activation: Operation, s: &Tensor, gates: &Tensor) -> Result<Tensor> {
        let (c, u) = halves(gates)?;
        Ok(s.f_lerp_tensor(&activate(activation, &u)?, &c.f_sigmoid()?)?)
    }
}

/// An activation function applied to `u`.
fn activate(activation: Operation, u: &Tensor) -> Result<Tensor> {
    match activation {
        Operation::Tanh => Ok(u.f_tanh()?),
        Operation::Relu => Ok(u.f_relu()?),
        Operation::Sigmoid => Ok(u.f_sigmoid()?),
        Operation::Identity => Ok(u.shallow_clone()),
        other => Err(Error::engine(format!("`{}` is not an activation", other.name()))),
    }
}

/// The mixture [N, units] of all gates of a node: stacked states [J · N, units] and gates [c, u] [J · N, 2 · units],
/// `weights` [J, activations].
fn gate_mixture(activations: &[(usize, Operation)], s: &Tensor, gates: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let states = weights.size()[0];
    let units = s.size()[1];
    let by_state = |x: &Tensor| x.f_reshape([states, -1, units]);
    let (c, u) = halves(gates)?;
    let mut values = Vec::with_capacity(activations.len());
    for (_, activation) in activations {
        values.push(activate(*activation, &u)?.f_reshape([states, -1])?);
    }
    // One product mixes the activations of each state, and its backward computes all gradients of their weights.
    let values = Tensor::f_stack(&values, 1)?;
    let mixed = by_state(&weights.f_unsqueeze(1)?.f_bmm(&values)?)?;
    let sums = weights.f_sum_dim_intlist([1i64].as_slice(), false, None)?.f_view([states, 1, 1])?;
    let kept = by_state(s)?.f_mul(&sums)?;
    Ok(kept.f_lerp_tensor(&mixed, &by_state(&c.f_sigmoid()?)?)?.f_sum_dim_intlist([0i64].as_slice(), false, None)?)
}

/// c and u of gates [c, u].
fn halves(gates: &Tensor) -> Result<(Tensor, Tensor)> {
    let mut halves = gates.f_chunk(2, 1)?.into_iter();
    match (halves.next(), halves.next()) {
        (Some(c), Some(u)) => Ok((c, u)),
        _ => Err(Error::engine(format!("gates of shape {:?} cannot be split in two", gates.size()))),
    }
}
