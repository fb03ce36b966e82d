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

/// A direction in the space of weights and mixing weights, flat each; None is zero.
#[derive(Clone, Copy, Default)]
pub struct Along<'a> {
    /// Its part in w.
    pub w: Option<&'a Tensor>,
    /// Its part in m.
    pub m: Option<&'a Tensor>,
    /// Whether the pass may keep every intermediate value, which takes less time and more memory.
    pub keep: bool,
}

impl<'a> Along<'a> {
    /// A direction of the weights.
    pub fn weights(w: &'a Tensor) -> Self {
        Along { w: Some(w), ..Along::default() }
    }

    /// A direction of the mixing weights.
    pub fn mixing(m: &'a Tensor) -> Self {
        Along { m: Some(m), ..Along::default() }
    }

    /// The same for a pass that may keep every intermediate value.
    pub fn kept(self) -> Self {
        Along { keep: true, ..self }
    }
}

/// A loss, or its derivative along a direction, and its gradients, detached from every graph.
#[derive(Debug)]
pub struct Gradients {
    /// The loss, or the derivative.
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

/// The derivative of a loss along a direction, and its gradients, by double backward.
pub(super) fn of_derivative<N: Network + ?Sized>(
    network: &N,
    w: &Tensor,
    m: &Tensor,
    along: Along,
    batch: &Batch,
    by: By,
) -> Result<Gradients> {
    let (w, m) = (leaf(w)?, leaf(m)?);
    let value = network.loss(&w, &m, batch, Mode::Search)?.value;
    let parts = [(&w, along.w), (&m, along.m)].into_iter().filter_map(|(leaf, part)| Some((leaf, part?)));
    let (inputs, directions): (Vec<&Tensor>, Vec<&Tensor>) = parts.unzip();
    let mut derivative = None;
    if value.requires_grad() && !inputs.is_empty() {
        let first = Tensor::f_run_backward(&[&value], &inputs, true, true)?;
        for (gradient, direction) in first.iter().zip(directions).filter(|(gradient, _)| gradient.defined()) {
            add(&mut derivative, Some(gradient.f_dot(direction)?))?;
        }
    }
    let derivative = match derivative {
        Some(derivative) => derivative,
        None => value.f_detach()?.f_zeros_like()?,
    };
    let wanted: Vec<&Tensor> = [(by.alpha(), &m), (by.weights(), &w)]
        .into_iter()
        .filter_map(|(wanted, leaf)| wanted.then_some(leaf))
        .collect();
    let mut found = gradients(&derivative, &wanted)?.into_iter();
    let m_gradient = if by.alpha() { found.next() } else { None };
    Gradients::new(Loss::alone(derivative), m_gradient, found.next())
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
