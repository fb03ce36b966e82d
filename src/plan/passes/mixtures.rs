//! Mixes what several edges share in one product.
//!
//! The poolings of a node, and the node itself, are read by the mixtures of all its targets, each with weights of its
//! own. Side by side they are a matrix of K rows, and the targets' mixtures the product of the J × K mixing weights
//! with it; the backward passes are two more products, instead of three operations for each of the J·K terms.

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::editor::{Editor, Partial, readers};
use crate::error::Result;
use crate::plan::{AlphaId, Instruction, Op, Plan, ValueId};

/// Rewrites mixtures that read the same values.
pub struct Mixtures;

impl Pass for Mixtures {
    fn name(&self) -> &'static str {
        "mixtures"
    }

    fn apply(&self, plan: Plan) -> Result<Plan> {
        let (output, products) = (plan.output, products(&plan));
        let (editor, instructions) = Editor::new(plan);
        let mut writer = Writer { editor, products, written: HashMap::new(), stands_for: HashMap::new() };
        for instruction in instructions {
            writer.instruction(instruction)?;
        }
        let output = writer.stands_for.get(&output).copied().unwrap_or(output);
        Ok(writer.editor.finish(output))
    }
}

/// One product: its values with their columns, its mixtures with their rows.
struct Product {
    alpha: AlphaId,
    values: Vec<(ValueId, usize)>,
    mixtures: Vec<(ValueId, usize)>,
}

/// The products that are worth one: at least two values that the same two or more mixtures read.
fn products(plan: &Plan) -> Vec<Product> {
    let all = &plan.instructions;
    let shapes: HashMap<ValueId, _> = all.iter().map(|it| (it.output, &it.shape)).collect();
    let readers = readers(all);
    let mut values: Vec<ValueId> = Vec::new();
    for instruction in all.iter().filter(|it| matches!(it.op, Op::Mix { .. })) {
        values.extend(instruction.inputs.iter().filter(|input| !values.contains(input)).collect::<Vec<_>>());
    }
    let mut products: Vec<Product> = Vec::new();
    for value in values {
        let (mut alphas, mut columns, mut mixtures) = (HashSet::new(), HashSet::new(), Vec::new());
        let mut seen = HashSet::new();
        for instruction in readers[&value].iter().filter(|place| seen.insert(**place)).map(|place| &all[*place]) {
            let Op::Mix { alpha, terms } = &instruction.op else { continue };
            for (_, (row, column)) in instruction.inputs.iter().zip(terms).filter(|(input, _)| **input == value) {
                alphas.insert(*alpha);
                columns.insert(*column);
                mixtures.push((instruction.output, *row));
            }
        }
        let distinct: HashSet<ValueId> = mixtures.iter().map(|(mixture, _)| *mixture).collect();
        let (&[alpha], &[column]) = (&Vec::from_iter(alphas)[..], &Vec::from_iter(columns)[..]) else { continue };
        if mixtures.len() < 2 || distinct.len() < mixtures.len() {
            continue;
        }
        let shape = |value: &ValueId| shapes.get(value).copied().unwrap_or(&plan.input_shape);
        let alike = |product: &&mut Product| {
            product.alpha == alpha && product.mixtures == mixtures && shape(&product.values[0].0) == shape(&value)
        };
        match products.iter_mut().find(alike) {
            Some(product) => product.values.push((value, column)),
            None => products.push(Product { alpha, values: vec![(value, column)], mixtures }),
        }
    }
    products.retain(|product| product.values.len() > 1);
    products
}

struct Writer {
    editor: Editor,
    products: Vec<Product>,
    /// The value of each product, once written.
    written: HashMap<usize, ValueId>,
    stands_for: HashMap<ValueId, ValueId>,
}

impl Writer {
    fn instruction(&mut self, mut instruction: Instruction) -> Result<()> {
        if let Op::Mix { .. } = instruction.op {
            return self.mix(instruction);
        }
        for input in &mut instruction.inputs {
            *input = self.now(*input);
        }
        self.editor.keep(instruction);
        Ok(())
    }

    fn mix(&mut self, instruction: Instruction) -> Result<()> {
        let Op::Mix { alpha, terms } = instruction.op else { return Ok(()) };
        let (mixture, scope) = (instruction.output, instruction.scope.as_str());
        let mine = |product: &Product| product.mixtures.iter().position(|(member, _)| *member == mixture);
        let places: Vec<(usize, usize)> =
            self.products.iter().enumerate().filter_map(|(id, product)| Some((id, mine(product)?))).collect();
        let in_product = |input: &ValueId| {
            places.iter().any(|(id, _)| self.products[*id].values.iter().any(|(value, _)| value == input))
        };
        let rest = instruction.inputs.iter().zip(terms).filter(|(input, _)| !in_product(input));
        let (inputs, terms): (Vec<ValueId>, Vec<_>) = rest.map(|(input, term)| (self.now(*input), term)).unzip();
        let mut sum = match inputs.is_empty() {
            true => None,
            false => Some(Partial { value: self.editor.push(Op::Mix { alpha, terms }, inputs, scope)?, owned: true }),
        };
        for (id, index) in places {
            let of = self.products[id].mixtures.len();
            let product = self.product(id, scope)?;
            let value = self.editor.push(Op::Unstack { index, of }, vec![product], scope)?;
            sum = Some(self.editor.plus(sum, Partial { value, owned: false }, scope)?);
        }
        self.stands_for.extend(sum.map(|sum| (mixture, sum.value)));
        Ok(())
    }

    /// What a value of the plan is now.
    fn now(&self, value: ValueId) -> ValueId {
        self.stands_for.get(&value).copied().unwrap_or(value)
    }

    fn product(&mut self, id: usize, scope: &str) -> Result<ValueId> {
        if let Some(product) = self.written.get(&id) {
            return Ok(*product);
        }
        let Product { alpha, values, mixtures } = &self.products[id];
        let (inputs, columns) = values.iter().map(|(value, column)| (self.now(*value), *column)).unzip();
        let rows = mixtures.iter().map(|(_, row)| *row).collect();
        let op = Op::Mixtures { alpha: *alpha, rows, columns };
        let stack = self.editor.push(Op::Stack, inputs, scope)?;
        let product = self.editor.push(op, vec![stack], scope)?;
        self.written.insert(id, product);
        Ok(product)
    }
}
