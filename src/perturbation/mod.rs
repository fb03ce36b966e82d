//! Perturbations of the mixing weights in the weight step (SDARTS, Chen & Hsieh, 2020): w is trained at a point m′ near
//! m = R(α), so that the validation loss is smooth in α. The α step and its training losses see m itself.

mod adversarial;
mod uniform;

use crate::error::Result;
use crate::json::Field;
use crate::variant::{Chosen, Domain, Parameter, Variant};

/// The radius ε, by default from 0.03 in the first epoch to 0.3 in the last.
const EPSILON: Parameter =
    Parameter { name: "epsilon", default: 0.3, domain: Domain::Scheduled { low: 0.0, high: 1.0, from: Some(0.03) } };

/// A perturbation. Its first parameter is ε.
pub trait Perturb: Variant {
    /// m′ for the mixing weights m of all logit tables, flat.
    #[cfg(feature = "torch")]
    fn perturb(&self, m: &tch::Tensor, near: &dyn Neighbourhood) -> Result<tch::Tensor>;
}

/// What a perturbation reads, on the device.
#[cfg(feature = "torch")]
pub trait Neighbourhood {
    /// The parameters on the host, those of the first epoch: for parameters that do not change.
    fn constants(&self) -> &[f64];
    /// ε in the current epoch, a scalar.
    fn epsilon(&self) -> &tch::Tensor;
    /// Uniform numbers in [−1, 1), flat.
    fn noise(&self) -> &tch::Tensor;
    /// The nearest mixing weights that R could return: clipped to [0, 1], and rows that are shares divided by their sum.
    /// A row that is 0 after the clip becomes the one-hot vector of its largest entry before it. Masked entries and
    /// frozen rows are those of m.
    fn project(&self, point: &tch::Tensor) -> Result<tch::Tensor>;
    /// The training loss at mixing weights, with running statistics.
    fn loss(&self, point: &tch::Tensor) -> Result<tch::Tensor>;
    /// Its gradient.
    fn gradient(&self, point: &tch::Tensor) -> Result<tch::Tensor>;
}

/// All perturbations.
pub const ALL: &[&dyn Perturb] = &[&uniform::Uniform, &adversarial::Adversarial];

/// A perturbation with the values of its parameters.
pub type Perturbation = Chosen<dyn Perturb>;

/// The perturbation that a field of a configuration gives.
pub(crate) fn read(field: &Field) -> Result<Perturbation> {
    Chosen::read(field, ALL)
}
