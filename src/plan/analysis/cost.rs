//! The cost of a plan: weights, arithmetic, and the activations that its two losses keep for the backward pass.

use std::fmt;

use super::memory::INDEX_BYTES;
use crate::plan::{Instruction, Op, Plan, Shape, Sizes};

/// The cost of a search network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cost {
    /// "image", "sequence" or "token": the example that counts per example refer to.
    pub example: &'static str,
    /// Numbers in the weights.
    pub weights: usize,
    /// Candidates in the tables of α.
    pub alphas: usize,
    /// Multiply-adds per example of convolutions, products and linear layers in a forward pass.
    pub multiply_adds: u64,
    /// Elements per example that are kept for the gradient of the weights.
    pub activation_elements_weight_loss: u64,
    /// Elements per example that are kept for the gradient of α and, as the virtual step needs, of the weights.
    pub activation_elements_arch_loss: u64,
    /// Indices per example that max pooling keeps for either gradient.
    pub pooling_indices: u64,
}

impl Cost {
    /// Bytes per example kept by the loss of α and by that of the weights, for elements of `element_size` bytes.
    pub fn bytes_per_example(&self, element_size: usize) -> (u64, u64) {
        let indices = self.pooling_indices.saturating_mul(INDEX_BYTES);
        let bytes = |elements: u64| elements.saturating_mul(element_size as u64).saturating_add(indices);
        (bytes(self.activation_elements_arch_loss), bytes(self.activation_elements_weight_loss))
    }
}

impl Plan {
    /// The cost of the plan, counted from its shapes.
    pub fn cost(&self) -> Cost {
        let each = |count: &dyn Fn(&Instruction) -> u64| {
            self.instructions.iter().fold(0u64, |sum, instruction| sum.saturating_add(count(instruction)))
        };
        let inside = self.kept_inside(0..self.instructions.len());
        Cost {
            example: match self.sizes {
                Sizes::Images(_) if self.space.dimensions() == Some(1) => "sequence",
                Sizes::Images(_) => "image",
                Sizes::Words(_) => "token",
            },
            weights: self.weights.iter().fold(0, |sum, weight| sum.saturating_add(weight.elements())),
            alphas: self.alphas.iter().flat_map(|table| &table.rows).map(|row| row.candidates.len()).sum(),
            multiply_adds: each(&|instruction| self.multiply_adds(instruction)),
            activation_elements_weight_loss: self.elements(&self.kept(false)).saturating_add(inside),
            activation_elements_arch_loss: self.elements(&self.kept(true)).saturating_add(inside),
            pooling_indices: self.pooling_indices(0..self.instructions.len()),
        }
    }

    /// Multiply-adds of one instruction; 0 for those that multiply no weights.
    fn multiply_adds(&self, instruction: &Instruction) -> u64 {
        let weight = match &instruction.op {
            Op::Conv { weight, .. } | Op::Linear { weight, .. } => weight,
            Op::Own { module, .. } => return self.own.get(module.0).map_or(0, |own| own.description.multiply_adds),
            Op::Product { rows: (_, count), .. } => {
                return instruction.shape.elements().saturating_mul(*count as u64);
            }
            _ => return 0,
        };
        // Every output element is a sum over the weights of its output channel.
        let Some((_, per_channel)) = self.weight_shape(*weight).split_first() else { return 0 };
        instruction.shape.elements().saturating_mul(Shape(per_channel.to_vec()).elements())
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let (arch, weight) = self.bytes_per_example(4);
        writeln!(formatter, "weights          {}", grouped(self.weights as u64))?;
        writeln!(formatter, "alphas           {}", grouped(self.alphas as u64))?;
        writeln!(
            formatter,
            "multiply-adds    {} per {}, forward",
            scaled(self.multiply_adds, 1000, &["", " thousand", " million", " billion"]),
            self.example
        )?;
        writeln!(formatter, "kept activations per {} in float32, between forward and backward", self.example)?;
        writeln!(formatter, "  weight loss    {}", bytes(weight))?;
        write!(formatter, "  alpha loss     {}", bytes(arch))
    }
}

/// 1930618 as "1,930,618".
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit that leaves at least one.
fn bytes(number: u64) -> String {
    scaled(number, 1024, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut scaled, mut unit) = (number as f64, 0);
    while scaled >= step as f64 && unit + 1 < units.len() {
        scaled /= step as f64;
        unit += 1;
    }
    if unit == 0 { format!("{number}{}", units[0]) } else { format!("{scaled:.1}{}", units[unit]) }
}
