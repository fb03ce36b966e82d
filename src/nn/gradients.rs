//! Gradients of a loss with respect to α, w, or both; only the requested ones are computed.

use tch::Tensor;

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::{Loss, Mode, Network};

/// What a loss is differentiated with respect to. A network alone differentiates with respect to the mixing weights
/// where this says α.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The logits.
    Alpha,
    /// The weights.
    Weights,
    /// Both, in one backward pass.
    Both,
}

impl By {
    /// Whether α's gradient is requested.
    pub fn alpha(self) -> bool {
        self != By::Weights
    }

    /// Whether the weights' gradient is requested.
    pub fn weights(self) -> bool {
        self != By::Alpha
    }
}

/// A loss and its gradients, detached from every graph.
#[derive(Debug)]
pub struct Gradients {
    /// The loss.
    pub loss: Loss,
    pub(super) alpha: Option<Tensor>,
    pub(super) w: Option<Tensor>,
}

impl Gradients {
    /// Detaches the loss; the gradients are those that were requested. `alpha` is the gradient of m if a network alone
    /// makes it.
    pub fn new(loss: Loss, alpha: Option<Tensor>, w: Option<Tensor>) -> Result<Self> {
        let loss = Loss { value: loss.value.f_detach()?, ..loss };
        Ok(Gradients { loss, alpha, w })
    }

    /// ∂L/∂α, flat.
    pub fn alpha(&self) -> Result<&Tensor> {
        self.alpha.as_ref().ok_or_else(|| Error::engine("the gradient of α was not requested"))
    }

    /// ∂L/∂w, flat.
    pub fn w(&self) -> Result<&Tensor> {
        self.w.as_ref().ok_or_else(|| Error::engine("the gradient of w was not requested"))
    }
}

/// The loss of a network and its gradients by autograd, as one graph.
pub(super) fn of_loss<N: Network + ?Sized>(
    network: &N,
    w: &Tensor,
    m: &Tensor,
    batch: &Batch,
    mode: Mode,
    by: By,
) -> Result<Gradients> {
    let w = if by.weights() { leaf(w)? } else { w.f_detach()? };
    let m = if by.alpha() { leaf(m)? } else { m.f_detach()? };
    let loss = network.loss(&w, &m, batch, mode)?;
    let inputs: Vec<&Tensor> = [&m, &w].into_iter().filter(|input| input.requires_grad()).collect();
    let mut found = gradients(&loss.value, &inputs)?.into_iter();
    let m_gradient = if by.alpha() { found.next() } else { None };
    Gradients::new(loss, m_gradient, found.next())
}

/// A leaf of a new graph that shares the storage of `tensor`.
pub(super) fn leaf(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_set_requires_grad(true)?)
}

/// Adds a term, if there is one, to a sum.
pub(super) fn add(sum: &mut Option<Tensor>, term: Option<Tensor>) -> Result<()> {
    let Some(term) = term else { return Ok(()) };
    *sum = Some(match sum.take() {
        Some(sum) => sum.f_add(&term)?,
        None => term,
    });
    Ok(())
}

/// The gradients of a scalar; zero for inputs that it does not depend on.
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
