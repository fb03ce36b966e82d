//! Named variants of one idea with their parameters, as data: `{"name": "gumbel", "temperature": 1.0}`.
//!
//! Relaxations, selections and deciders are lists of variants. A variant declares its name and parameters in a
//! [`Spec`]; everything that reads, writes or lists variants uses the specification.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result, unknown};
use crate::json::Field;
use crate::schedule::Schedule;

/// The name and the parameters of a variant.
#[derive(Debug)]
pub struct Spec {
    /// The name in configurations.
    pub name: &'static str,
    /// The parameters, in the order in which they are written.
    pub parameters: &'static [Parameter],
}

/// A parameter of a variant.
#[derive(Debug)]
pub struct Parameter {
    /// The name in configurations.
    pub name: &'static str,
    /// The value where none is given.
    pub default: f64,
    /// The values that it takes.
    pub domain: Domain,
}

/// The values that a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A number of at least the first and at most the second bound.
    Number(f64, f64),
    /// A number above 0, or a schedule of such numbers.
    Positive,
    /// A whole number of at least this bound.
    Whole(usize),
}

/// A variant that was chosen, with the values of its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The index of the variant in its list.
    pub index: usize,
    /// One per parameter of its specification.
    pub values: Vec<Schedule>,
}

impl Chosen {
    /// The variant with its default values.
    pub fn new(index: usize, spec: &Spec) -> Chosen {
        Chosen { index, values: spec.parameters.iter().map(|p| Schedule::Constant(p.default)).collect() }
    }

    /// The variant that a field gives: a name, or an object with `name` and parameters.
    pub(crate) fn read(field: &Field, specs: &[&Spec]) -> Result<Chosen> {
        let empty = Map::new();
        let (name, given) = match field.value {
            Value::String(name) => (name.as_str(), &empty),
            Value::Object(given) => match given.get("name").and_then(Value::as_str) {
                Some(name) => (name, given),
                None => return Err(field.refuse("an object with the key `name`")),
            },
            _ => {
                let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
                return Err(field.refuse(&format!("one of {}, or an object with `name`", names.join(", "))));
            }
        };
        let Some(index) = specs.iter().position(|spec| spec.name == name) else {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
            return Err(Error::new(field.kind, unknown(&format!("`{}`", field.name), name, &names)));
        };
        let spec = specs[index];
        let mut chosen = Chosen::new(index, spec);
        // null means "not given".
        for (key, value) in given.iter().filter(|(key, value)| *key != "name" && !value.is_null()) {
            let Some(at) = spec.parameters.iter().position(|parameter| parameter.name == key) else {
                let known: Vec<&str> = spec.parameters.iter().map(|parameter| parameter.name).collect();
                return Err(Error::new(field.kind, unknown(&format!("parameter of `{name}`"), key, &known)));
            };
            let qualified = format!("{}.{key}", field.name);
            let field = Field { kind: field.kind, name: &qualified, value };
            chosen.values[at] = spec.parameters[at].domain.read(&field)?;
        }
        Ok(chosen)
    }

    /// The variant as JSON that [`Chosen::read`] reads to the same value.
    pub(crate) fn write(&self, spec: &Spec) -> Value {
        let mut object = Map::from_iter([("name".to_string(), json!(spec.name))]);
        for (parameter, value) in spec.parameters.iter().zip(&self.values) {
            let value = match (parameter.domain, value) {
                (Domain::Whole(_), Schedule::Constant(number)) => json!(*number as usize),
                _ => value.to_value(),
            };
            object.insert(parameter.name.to_string(), value);
        }
        Value::Object(object)
    }

    /// The values of the parameters in an epoch of a search of `epochs` epochs.
    pub fn at(&self, epoch: usize, epochs: usize) -> Vec<f64> {
        self.values.iter().map(|value| value.at(epoch, epochs)).collect()
    }
}

impl Domain {
    fn read(self, field: &Field) -> Result<Schedule> {
        match self {
            Domain::Number(low, high) => field
                .number(&format!("a number from {low} to {high}"), |number| (low..=high).contains(&number))
                .map(Schedule::Constant),
            Domain::Positive => Schedule::read(field, "a number above 0", |number| number > 0.0),
            Domain::Whole(low) => field.whole(low).map(|number| Schedule::Constant(number as f64)),
        }
    }
}
