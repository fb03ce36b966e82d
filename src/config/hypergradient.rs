//! Hypergradients as data: the names of the estimators of dL_val(w*(α), α)/dα, and their parameters. The functions are
//! in `search/hypergradient/`.

use std::fmt::{Debug, Formatter};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::error::{ErrorKind, Result};
use crate::json::Field;
use crate::variant::{Chosen, Domain, Parameter, Spec, Variant};

/// How α's gradient accounts for the weights' dependence on α.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// It ignores it: ξ = 0.
    FirstOrder,
    /// One virtual step, the second term by finite differences (equations 7 and 8).
    Unrolled,
    /// One virtual step, the second term exactly: the derivative of a gradient along one direction.
    UnrolledExact,
    /// The gradient of the training loss, in the backward pass of the weight step: α and w have one objective.
    SingleLevel,
    /// One step of gradient descent at w as an estimate of the inverse Hessian.
    T1T2,
    /// A Neumann series as an estimate of the inverse Hessian.
    Neumann,
    /// Conjugate gradients as an estimate of the inverse Hessian.
    ConjugateGradient,
    /// The gradients of validation and training loss, weighted.
    MixedLevel,
}

impl Method {
    /// Whether it is computed by exact products of second derivatives.
    pub fn has_products(self) -> bool {
        use Method::{ConjugateGradient, Neumann, T1T2, UnrolledExact};
        matches!(self, UnrolledExact | T1T2 | Neumann | ConjugateGradient)
    }
}

/// A method with its name and parameters.
pub struct Rule {
    method: Method,
    spec: &'static Spec,
}

impl Variant for Rule {
    fn spec(&self) -> &'static Spec {
        self.spec
    }
}

/// The number of products with the Hessian.
const TERMS: Parameter = Parameter { name: "terms", default: 3.0, domain: Domain::Whole(0) };
const STEPS: Parameter = Parameter { domain: Domain::Whole(1), ..TERMS };
/// What is added to the diagonal of the Hessian.
const DAMPING: Parameter = Parameter { name: "damping", default: 1.0, domain: Domain::Number(0.0, 1e6) };
/// The factor of the training loss.
const WEIGHT: Parameter = Parameter { name: "weight", default: 1.0, domain: Domain::Number(0.0, 1e6) };

/// All hypergradients.
pub const ALL: &[&Rule] = &[
    &Rule { method: Method::FirstOrder, spec: &Spec { name: "first_order", parameters: &[] } },
    &Rule { method: Method::Unrolled, spec: &Spec { name: "unrolled", parameters: &[] } },
    &Rule { method: Method::UnrolledExact, spec: &Spec { name: "unrolled_exact", parameters: &[] } },
    &Rule { method: Method::SingleLevel, spec: &Spec { name: "single_level", parameters: &[] } },
    &Rule { method: Method::T1T2, spec: &Spec { name: "t1_t2", parameters: &[] } },
    &Rule { method: Method::Neumann, spec: &Spec { name: "neumann", parameters: &[TERMS] } },
    &Rule {
        method: Method::ConjugateGradient,
        spec: &Spec { name: "conjugate_gradient", parameters: &[STEPS, DAMPING] },
    },
    &Rule { method: Method::MixedLevel, spec: &Spec { name: "mixed_level", parameters: &[WEIGHT] } },
];

/// The largest number of parameters of a hypergradient.
const MOST: usize = 3;

/// A hypergradient with the values of its parameters. Those without parameters are written as their names.
#[derive(Clone, PartialEq)]
pub struct Hypergradient(Chosen<Rule>);

impl Hypergradient {
    /// The hypergradient that a field gives.
    pub(crate) fn read(field: &Field) -> Result<Self> {
        Chosen::read(field, ALL).map(Hypergradient)
    }

    /// The hypergradient that an argument gives, as JSON.
    pub fn parse(argument: &'static str, value: &Value) -> Result<Self> {
        Hypergradient::read(&Field { kind: ErrorKind::Config, name: argument, value })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.0.rule().method
    }

    /// The method and the values of its parameters.
    pub fn estimator(&self) -> Estimator {
        let mut values = [0.0; MOST];
        // Parameters of hypergradients have no schedules.
        for (value, given) in values.iter_mut().zip(self.0.at(0, 1)) {
            *value = given;
        }
        Estimator { method: self.method(), values }
    }
}

/// A method with its default parameters.
impl From<Method> for Hypergradient {
    fn from(method: Method) -> Self {
        let rule = ALL.iter().find(|rule| rule.method == method).unwrap_or(&ALL[0]);
        Hypergradient(Chosen::new(*rule))
    }
}

impl Serialize for Hypergradient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.rule().spec().parameters {
            [] => serializer.serialize_str(self.0.name()),
            _ => self.0.serialize(serializer),
        }
    }
}

impl Debug for Hypergradient {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A method with the values of its parameters, in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimator {
    /// The method.
    pub method: Method,
    /// The values.
    pub values: [f64; MOST],
}

/// With the default parameters.
impl From<Method> for Estimator {
    fn from(method: Method) -> Self {
        Hypergradient::from(method).estimator()
    }
}
