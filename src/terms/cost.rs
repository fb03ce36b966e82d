//! Terms of the expected cost E = Σ c·m + constant of the network that will be built of the genotype: multiply-adds,
//! weights or latency. c holds the cost of each candidate, added over the cells of a kind; it comes from outside.

use super::Term;
use crate::error::{Error, Result};
use crate::variant::{Domain, Parameter, Spec, Variant};

/// How a cost changes the validation loss L. λ is the weight, R the reference, b the exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// L + λ(E − R)/R: ProxylessNAS' `add#linear`, and NNI's `add` with scale λ.
    Add,
    /// L + λ ln E: SNAS' logarithmic form.
    Log,
    /// L·λ(E/R)^b: NNI's `mul` with scale b and λ = 1.
    Multiply,
    /// L·λ(ln E/ln R)^b: ProxylessNAS' `mul#log`; with ln R = 1 FBNet's.
    MultiplyLog,
}

const FORMS: &[&str] = &["add", "log", "multiply", "multiply_log"];

impl Form {
    /// The form with an index in the list of names.
    pub fn of(index: f64) -> Form {
        [Form::Add, Form::Log, Form::Multiply, Form::MultiplyLog][index as usize]
    }

    /// Whether the loss is multiplied.
    pub fn multiplies(self) -> bool {
        matches!(self, Form::Multiply | Form::MultiplyLog)
    }

    /// The value f(E) that λ multiplies, and its derivative, from the expected cost E.
    #[cfg(feature = "torch")]
    pub fn apply(self, expected: &tch::Tensor, reference: f64, exponent: f64) -> Result<(tch::Tensor, tch::Tensor)> {
        Ok(match self {
            Form::Add => (
                expected.f_sub_scalar(reference)?.f_div_scalar(reference)?,
                expected.f_ones_like()?.f_div_scalar(reference)?,
            ),
            Form::Log => (expected.f_log()?, expected.f_reciprocal()?),
            Form::Multiply => {
                let value = expected.f_div_scalar(reference)?.f_pow_tensor_scalar(exponent)?;
                let slope = value.f_mul_scalar(exponent)?.f_div(expected)?;
                (value, slope)
            }
            Form::MultiplyLog => {
                let logarithm = expected.f_log()?;
                let value = logarithm.f_div_scalar(reference.ln())?.f_pow_tensor_scalar(exponent)?;
                let slope = value.f_mul_scalar(exponent)?.f_div(&logarithm.f_mul(expected)?)?;
                (value, slope)
            }
        })
    }
}

/// The cost of a network that will be built, by candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetCost {
    /// What is counted, such as `flops`.
    pub measure: String,
    /// The cost of each entry of flat α; 0 for padding.
    pub candidates: Vec<f64>,
    /// The cost of the rest of the network.
    pub constant: f64,
}

impl TargetCost {
    /// The cost with this measure.
    pub fn find<'a>(costs: &'a [TargetCost], measure: &str) -> Result<&'a TargetCost> {
        let missing = || {
            Error::config(format!(
                "`arch_terms` has {measure:?}, and no costs of candidates are known here; they belong to spaces of \
                 convolutional cells"
            ))
        };
        costs.iter().find(|cost| cost.measure == measure).ok_or_else(missing)
    }
}

const fn parameter(name: &'static str, default: f64, domain: Domain) -> Parameter {
    Parameter { name, default, domain }
}

const WEIGHT: Parameter = super::weight(0.1, 0.0);
const FORM: Parameter = parameter("form", 0.0, Domain::Name(FORMS));
/// 0 stands for the cost at the uniform mixture.
const REFERENCE: Parameter = parameter("reference", 0.0, Domain::Number(0.0, f64::MAX));
const EXPONENT: Parameter = parameter("exponent", 0.6, Domain::Number(-100.0, 100.0));
const CHANNELS: Parameter = parameter("channels", 36.0, Domain::Whole(1));
const LAYERS: Parameter = parameter("layers", 20.0, Domain::Whole(1));
/// 0 stands for the size of the search.
const IMAGE_SIZE: Parameter = parameter("image_size", 0.0, Domain::Whole(0));
const STEM: Parameter = parameter("stem", 0.0, Domain::Name(&["cifar", "imagenet", "small"]));
const FILE: Parameter = parameter("file", 0.0, Domain::Text);
const OTHER: Parameter = parameter("other_device", 0.0, Domain::Name(&["refuse", "accept"]));

macro_rules! costs {
    ($($name:ident $measure:literal [$($parameter:ident),*];)*) => {
        $(
            pub struct $name;

            impl Variant for $name {
                fn spec(&self) -> &'static Spec {
                    &Spec { name: $measure, parameters: &[WEIGHT, FORM, REFERENCE, EXPONENT, $($parameter),*] }
                }
            }

            impl Term for $name {
                fn measured(&self) -> &'static str {
                    concat!("term.", $measure)
                }

                fn measure(&self) -> Option<&'static str> {
                    Some($measure)
                }

                #[cfg(feature = "torch")]
                fn evaluate(&self, _tables: &[super::View], _values: &[f64]) -> Result<super::Evaluated> {
                    Err(Error::engine("a cost is no function of α alone"))
                }
            }
        )*
    };
}

costs! {
    Flops "flops" [CHANNELS, LAYERS, IMAGE_SIZE, STEM];
    Parameters "parameters" [CHANNELS, LAYERS, STEM];
    Latency "latency" [FILE, OTHER];
}
