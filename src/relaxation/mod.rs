//! Relaxations: the functions R that turn a table of logits α into mixing weights m = R(α; s).
//!
//! R stands between α and the network: L(w, α) = ℓ(w, m), so ∂L/∂α = J_Rᵀ ∂ℓ/∂m, and an exact second order passes
//! through the same J_Rᵀ because R does not contain w. Each relaxation is one file with a function, its transposed
//! Jacobian by hand, and its mean on the host.

mod derive;
mod dirichlet;
mod edges;
mod gumbel;
mod gumbel_hard;
mod identity;
mod noise;
mod random;
mod restrictions;
mod sigmoid;
mod softmax;
mod state;

use crate::error::Result;
use crate::json::Field;
use crate::variant::{Chosen, Domain, Parameter, Variant};

pub use derive::derive;
pub use edges::normalize_edges;
pub use noise::{Noise, open_rows, row_shares};
pub use restrictions::{Restrictions, Tables, shown_over_time};
pub use state::TableState;

/// τ of relaxations that divide by a temperature. Within these bounds logits divided by it stay finite in float32.
const TEMPERATURE: Parameter =
    Parameter { name: "temperature", default: 1.0, domain: Domain::Scheduled { low: 1e-6, high: 1e6, from: None } };

/// A relaxation. Masked logits are −∞ in what its functions get; the caller sets masked weights and gradients to 0.
pub trait Relax: Variant {
    /// What it draws for every step.
    fn noise(&self) -> Noise {
        Noise::None
    }

    /// Whether the mixing weights that it draws are 1 for one candidate of a row, or 0 for all.
    fn samples_one(&self) -> bool {
        false
    }

    /// Whether α has a gradient. Otherwise it does not move, not even by decay.
    fn learns(&self) -> bool {
        true
    }

    /// Whether the mixing weights of a row are shares of 1.
    fn shares(&self) -> bool {
        true
    }

    /// The mean mixing weights of one row, which evaluation, selection and plots use. `values`: the parameters.
    fn mean(&self, row: &[f64], values: &[f64]) -> Vec<f64>;

    /// The noise of a loss from the numbers that were drawn, [rows, columns] or [blocks, rows, columns]: themselves,
    /// unless the distribution depends on α.
    #[cfg(feature = "torch")]
    fn sample(&self, _alpha: &tch::Tensor, drawn: &tch::Tensor) -> Result<tch::Tensor> {
        Ok(drawn.shallow_clone())
    }

    /// m = R(α) of a table [rows, columns]; without noise the mean.
    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &Inputs) -> Result<tch::Tensor>;

    /// The mixing weights whose derivative `backward` takes: m, or what a hard relaxation rounds to m.
    #[cfg(feature = "torch")]
    fn soft(&self, alpha: &tch::Tensor, at: &Inputs) -> Result<tch::Tensor> {
        self.weights(alpha, at)
    }

    /// J_Rᵀ·gradient at α, where m = R(α), all [rows, columns].
    #[cfg(feature = "torch")]
    fn backward(
        &self,
        alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        at: &Inputs,
    ) -> Result<tch::Tensor>;
}

/// What a relaxation reads besides α, on the device.
#[cfg(feature = "torch")]
pub struct Inputs<'a> {
    /// The parameters, scalars.
    pub values: &'a [tch::Tensor],
    /// What was drawn, [rows, columns]: see [`Relax::sample`].
    pub noise: Option<&'a tch::Tensor>,
}

/// All relaxations.
pub const ALL: &[&dyn Relax] = &[
    &softmax::Softmax,
    &gumbel::Gumbel,
    &identity::Identity,
    &sigmoid::Sigmoid,
    &gumbel_hard::GumbelHard,
    &dirichlet::Dirichlet,
    &random::Random,
];

/// A relaxation with the values of its parameters.
pub type Relaxation = Chosen<dyn Relax>;

impl Default for Relaxation {
    fn default() -> Self {
        Chosen::new(ALL[0])
    }
}

/// The relaxation that a field of a configuration gives.
pub(crate) fn read(field: &Field) -> Result<Relaxation> {
    Chosen::read(field, ALL)
}
