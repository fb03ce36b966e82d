//! Gradients of a loss by α, by w, or by both: nothing but what is asked for is computed.

use tch::Tensor;

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::{Loss, Mode, Network};

/// What a loss is differentiated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The mixture logits.
    Alpha,
    /// The weights.
    Weights,
    /// Both, in one backward pass.
    Both,
}

impl By {
    /// Whether α's gradient is asked for.
    pub fn alpha(self) -> bool {
        self != By::Weights
    }

    /// Whether the weights' gradient is asked for.
    pub fn weights(self) -> bool {
        self != By::Alpha
    }
}

/// A loss and its gradients, outside any graph.
#[derive(Debug)]
pub struct Gradients {
    /// The loss itself.
    pub loss: Loss,
    pub(super) of_alpha: Option<Tensor>,
    pub(super) of_w: Option<Tensor>,
}

impl Gradients {
    /// Of a loss, those that were asked for.
    pub fn new(loss: Loss, of_alpha: Option<Tensor>, of_w: Option<Tensor>) -> Result<Self> {
        let loss = Loss { value: loss.value.f_detach()?, ..loss };
        Ok(Gradients { loss, of_alpha, of_w })
    }

    /// ∂L/∂α, flat.
    pub fn alpha(&self) -> Result<&Tensor> {
        self.of_alpha.as_ref().ok_or_else(|| Error::engine("the gradient of α was not asked for"))
    }

    /// ∂L/∂w, flat.
    pub fn w(&self) -> Result<&Tensor> {
        self.of_w.as_ref().ok_or_else(|| Error::engine("the gradient of w was not asked for"))
    }
}

/// By autograd, of the network's loss as one graph.
pub(super) fn of_loss<N: Network + ?Sized>(
    network: &N,
    w: &Tensor,
    alpha: &Tensor,
    batch: &Batch,
    mode: Mode,
    by: By,
) -> Result<Gradients> {
    let w = if by.weights() { leaf(w)? } else { w.f_detach()? };
    let alpha = if by.alpha() { leaf(alpha)? } else { alpha.f_detach()? };
    let loss = network.loss(&w, &alpha, batch, mode)?;
    let asked: Vec<&Tensor> = [&alpha, &w].into_iter().filter(|input| input.requires_grad()).collect();
    let mut found = gradients(&loss.value, &asked)?.into_iter();
    let of_alpha = if by.alpha() { found.next() } else { None };
    Gradients::new(loss, of_alpha, found.next())
}

/// A leaf of the graph with the values of `tensor`, sharing its storage.
pub(super) fn leaf(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_set_requires_grad(true)?)
}

/// Adds a term, if there is one, to a sum that begins with its first.
pub(super) fn add(sum: &mut Option<Tensor>, term: Option<Tensor>) -> Result<()> {
    let Some(term) = term else { return Ok(()) };
    *sum = Some(match sum.take() {
        Some(sum) => sum.f_add(&term)?,
        None => term,
    });
    Ok(())
}

/// Gradients of a scalar; zero where it does not depend on an input.
pub(super) fn gradients(value: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    if !value.requires_grad() {
        return inputs.iter().map(|input| Ok(input.f_zeros_like()?)).collect();
    }
    let gradients = Tensor::f_run_backward(&[value], inputs, false, false)?;
    let defined = |(g, input): (Tensor, &&Tensor)| if g.defined() { Ok(g) } else { Ok(input.f_zeros_like()?) };
    gradients.into_iter().zip(inputs).map(defined).collect()
}

/// The gradient of a scalar with respect to one vector.
pub(super) fn gradient(value: &Tensor, input: &Tensor) -> Result<Tensor> {
    gradients(value, &[input])?.pop().ok_or_else(|| Error::engine("autograd returned no gradient"))
}
