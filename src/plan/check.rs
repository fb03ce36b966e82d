//! The invariants of a plan: names are distinct, ids exist, values are defined before use, shapes fit the inputs.

use std::collections::{HashMap, HashSet};

use super::{Op, Plan, Scale, Shape, Sizes, ValueId, WeightId};
use crate::error::{Error, Result};
use crate::space::Operation;

impl Plan {
    /// Checks the invariants that lowering and every pass must keep.
    pub fn check(&self) -> Result<()> {
        let broken = |detail: String| Error::engine(format!("the plan is inconsistent: {detail}"));
        distinct("weight", self.weights.iter().map(|weight| weight.name.as_str())).map_err(broken)?;
        distinct("statistic", self.statistics.iter().map(|statistic| statistic.name.as_str())).map_err(broken)?;
        distinct("mask", self.masks.iter().map(|mask| mask.name.as_str())).map_err(broken)?;
        distinct("α table", self.mixing_tables().map(|alpha| alpha.name.as_str())).map_err(broken)?;
        let units = match (self.sizes, self.recurrence) {
            (Sizes::Images(_), None) => None,
            (Sizes::Words(language), Some(recurrence)) => Some((recurrence, Shape(vec![language.units]))),
            _ => return Err(broken("a plan has a state if and only if it reads words".to_string())),
        };
        let mut shapes: HashMap<ValueId, &Shape> = HashMap::from([(self.input, &self.input_shape)]);
        if let Some((recurrence, shape)) = &units {
            shapes.insert(recurrence.state, shape);
        }
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
            self.check_mixing(&instruction.op).map_err(broken)?;
            let shape = instruction.op.output_shape(&inputs, &self.weights).map_err(broken)?;
            if shape != instruction.shape {
                return Err(broken(format!("expected shape {:?}, got {:?}", shape.0, instruction.shape.0)));
            }
            if shapes.insert(instruction.output, &instruction.shape).is_some() {
                return Err(broken(format!("value {} is defined twice", instruction.output.0)));
            }
        }
        self.check_accumulations().map_err(broken)?;
        if let Some((recurrence, shape)) = &units
            && shapes.get(&recurrence.next) != Some(&shape)
        {
            return Err(broken("the next state is never defined, or has another shape than the state".to_string()));
        }
        match shapes.get(&self.output) {
            Some(shape) if shape.0 == [self.sizes.outputs()] => Ok(()),
            Some(shape) => Err(broken(format!("the output has shape {:?}", shape.0))),
            None => Err(broken("the output is never defined".to_string())),
        }
    }

    /// Checks that the weights and statistics of an operation exist and fit its inputs.
    fn check_tables(&self, op: &Op, inputs: &[&Shape]) -> Result<(), String> {
        let channels = inputs.first().map(|shape| shape.channels());
        match op {
            Op::BatchNorm { statistic, members, aliases, scale } => {
                if *members != 1 && !aliases.is_empty() {
                    return Err("a group of batch norms has aliases".to_string());
                }
                let all = (statistic.0..statistic.0 + members).chain(aliases.iter().map(|alias| alias.0));
                for statistic in all {
                    let statistic = self.statistics.get(statistic).ok_or("a statistic that does not exist")?;
                    if Some(statistic.width * members) != channels {
                        return Err(format!(
                            "`{}` has {} channels, its input {channels:?}",
                            statistic.name, statistic.width
                        ));
                    }
                }
                let channels = channels.unwrap_or(0);
                match scale {
                    Scale::Affine { weight, bias } => {
                        [weight, bias].into_iter().try_for_each(|weight| self.check_vector(*weight, channels))
                    }
                    Scale::Mixing { terms, .. } if terms.is_empty() || !channels.is_multiple_of(terms.len()) => {
                        Err(format!("{channels} channels cannot be divided among {} terms", terms.len()))
                    }
                    Scale::One | Scale::Mixing { .. } => Ok(()),
                }
            }
            Op::Conv { weight, members, .. } => {
                let shapes = (weight.0..weight.0 + members).map(|id| self.weights.get(id).map(|weight| &weight.shape));
                let first = self.weights.get(weight.0).map(|weight| &weight.shape);
                if *members == 0 || shapes.into_iter().any(|shape| shape.is_none() || shape != first) {
                    return Err(format!("{members} weights do not make one kernel"));
                }
                Ok(())
            }
            Op::Own { module, weights, .. } => {
                let module = self.own.get(module.0).ok_or("a module that does not exist")?;
                let shapes = weights.iter().map(|id| self.weights.get(id.0).map(|weight| &weight.shape));
                match shapes.eq(module.description.weights.iter().map(|(_, shape)| Some(shape))) {
                    true => Ok(()),
                    false => Err(format!("`{}` has other weights", module.name)),
                }
            }
            Op::Drop { mask } => {
                let mask = self.masks.get(mask.0).ok_or("a mask that does not exist")?;
                match inputs {
                    [input] if mask.shape.0 == [1, 1, 1] || mask.shape == **input => Ok(()),
                    _ => Err(format!("the mask `{}` has shape {}", mask.name, mask.shape)),
                }
            }
            Op::Linear { weight, bias } => {
                let weight = self.weights.get(weight.0).ok_or("a weight that does not exist")?;
                self.check_vector(*bias, weight.shape.first().copied().unwrap_or(0))
            }
            _ => Ok(()),
        }
    }

    /// Checks that an operation mixes with entries of α that are candidates, and never with those of `none`.
    fn check_mixing(&self, op: &Op) -> Result<(), String> {
        let Some((alpha, cells)) = op.mixing() else { return Ok(()) };
        let table = self.mixing_table(alpha).ok_or("an α table that does not exist")?;
        for (row, column) in cells {
            match table.rows.get(row).and_then(|row| row.candidates.get(column)) {
                None => return Err(format!("`{}` has no candidate in row {row}, column {column}", table.name)),
                Some(name) if name == Operation::None.name() => return Err("`none` is mixed".to_string()),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Checks that no value that an accumulation overwrites is a view, or is read afterwards.
    fn check_accumulations(&self) -> Result<(), String> {
        let producers: HashMap<ValueId, &Op> = self.instructions.iter().map(|it| (it.output, &it.op)).collect();
        for (instruction, dying) in self.instructions.iter().zip(self.last_uses()) {
            let (Op::Accumulate, [into, value]) = (&instruction.op, &instruction.inputs[..]) else { continue };
            if into == value || !dying.contains(into) {
                return Err(format!("value {} is overwritten and read again", into.0));
            }
            match producers.get(into) {
                Some(Op::BatchNorm { .. } | Op::Mix { .. } | Op::Add | Op::Accumulate | Op::BatchToSpace { .. }) => {}
                _ => return Err(format!("value {} is overwritten and may share memory with another value", into.0)),
            }
        }
        Ok(())
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
            return Err(format!("{what} `{name}` is not unique"));
        }
    }
    Ok(())
}
