//! The invariant of every plan: names and ids agree, values are defined before use, shapes follow from the inputs.

use std::collections::{HashMap, HashSet};

use super::{Op, Plan, Shape, ValueId, WeightId};
use crate::error::{Error, Result};
use crate::space::Operation;

impl Plan {
    /// Whether the plan can run at all: what lowering and every pass must keep.
    pub fn check(&self) -> Result<()> {
        let broken = |detail: String| Error::engine(format!("the plan is inconsistent: {detail}"));
        distinct("weight", self.weights.iter().map(|weight| weight.name.as_str())).map_err(broken)?;
        distinct("statistic", self.statistics.iter().map(|statistic| statistic.name.as_str())).map_err(broken)?;
        distinct("α table", self.alphas.iter().map(|alpha| alpha.name.as_str())).map_err(broken)?;
        let mut shapes: HashMap<ValueId, &Shape> = HashMap::from([(self.input, &self.input_shape)]);
        for (index, instruction) in self.instructions.iter().enumerate() {
            let broken = |detail: String| broken(format!("instruction {index} of `{}`: {detail}", instruction.scope));
            let inputs = instruction
                .inputs
                .iter()
                .map(|value| {
                    shapes.get(value).copied().ok_or_else(|| format!("value {} is used before it is defined", value.0))
                })
                .collect::<Result<Vec<_>, _>>()
                .map_err(broken)?;
            self.check_tables(&instruction.op, &inputs).map_err(broken)?;
            let shape = match &instruction.op {
                Op::Zeros if inputs.is_empty() => instruction.shape.clone(),
                op => op.output_shape(&inputs, &self.weights).map_err(broken)?,
            };
            if shape != instruction.shape {
                return Err(broken(format!(
                    "shape {:?} is written where {:?} comes out",
                    instruction.shape.0, shape.0
                )));
            }
            if shapes.insert(instruction.output, &instruction.shape).is_some() {
                return Err(broken(format!("value {} is defined twice", instruction.output.0)));
            }
        }
        match shapes.get(&self.output) {
            Some(shape) if shape.0 == [self.geometry.num_classes] => Ok(()),
            Some(shape) => Err(broken(format!("the output has shape {:?}", shape.0))),
            None => Err(broken("the output is never defined".to_string())),
        }
    }

    /// Whether the rows of the tables an operation names exist and fit its inputs.
    fn check_tables(&self, op: &Op, inputs: &[&Shape]) -> Result<(), String> {
        let channels = inputs.first().and_then(|shape| shape.0.first()).copied();
        match op {
            Op::BatchNorm { statistic, aliases, affine } => {
                for statistic in aliases.iter().chain([statistic]) {
                    let statistic = self.statistics.get(statistic.0).ok_or("a statistic that does not exist")?;
                    if Some(statistic.channels) != channels {
                        return Err(format!(
                            "`{}` has {} channels, its input {channels:?}",
                            statistic.name, statistic.channels
                        ));
                    }
                }
                let vectors = affine.iter().flat_map(|(weight, bias)| [weight, bias]);
                vectors.into_iter().try_for_each(|weight| self.check_vector(*weight, channels.unwrap_or(0)))
            }
            Op::Linear { weight, bias } => {
                let weight = self.weights.get(weight.0).ok_or("a weight that does not exist")?;
                self.check_vector(*bias, weight.shape.first().copied().unwrap_or(0))
            }
            Op::Mix { alpha, terms } => {
                let alpha = self.alphas.get(alpha.0).ok_or("an α table that does not exist")?;
                if let Some((row, column)) =
                    terms.iter().find(|(row, column)| *row >= alpha.edges || *column >= alpha.operations)
                {
                    return Err(format!("`{}` has no row {row}, column {column}", alpha.name));
                }
                let is_none =
                    |(_, column): &&(usize, usize)| self.space.operations.get(*column) == Some(&Operation::None);
                match terms.iter().find(is_none) {
                    Some(_) => Err("`none` is mixed".to_string()),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_vector(&self, weight: WeightId, length: usize) -> Result<(), String> {
        let weight = self.weights.get(weight.0).ok_or("a weight that does not exist")?;
        if weight.shape == [length] {
            Ok(())
        } else {
            Err(format!("`{}` has shape {:?}, not [{length}]", weight.name, weight.shape))
        }
    }
}

fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} `{name}` stands twice"));
        }
    }
    Ok(())
}
