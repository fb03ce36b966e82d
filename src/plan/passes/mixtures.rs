//! Mixes the values that several edges share in one product.
//!
//! The poolings of a node, and the node itself, are read by the mixtures of all its targets, each with weights of its
//! own. Stacked they are a matrix of K rows, and the targets' mixtures the product of the J × K mixing weights with it;
//! the backward passes are two more products, instead of three operations for each of the J·K terms.

use std::collections::{HashMap, HashSet};

use super::editor::{Editor, Term, readers};
use crate::error::Result;
use crate::plan::{AlphaId, Op, Plan, Scope, ValueId};

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    let mut products = products(plan);
    Editor::rewrite(plan, |editor, instruction| {
        let Op::Mix { alpha, terms } = &instruction.op else { return editor.keep(instruction) };
        let (mixture, scope) = (instruction.output, &instruction.scope);
        let in_product = |input: &ValueId| products.iter().any(|product| product.mixes(*input, mixture));
        let rest = instruction.inputs.iter().zip(terms).filter(|(input, _)| !in_product(input));
        let (inputs, terms): (Vec<ValueId>, Vec<_>) = rest.unzip();
        if !inputs.is_empty() {
            let value = editor.push(Op::Mix { alpha: *alpha, terms }, inputs, scope)?;
            editor.add(mixture, Term { value, owned: true }, scope)?;
        }
        for product in &mut products {
            let Some(index) = product.position(mixture) else { continue };
            let stack = product.write(editor, scope)?;
            let value = editor.push(Op::Unstack { index, of: product.mixtures.len() }, vec![stack], scope)?;
            editor.add(mixture, Term { value, owned: false }, scope)?;
        }
        Ok(())
    })
}

/// A product: its values with their columns, its mixtures with their rows.
struct Product {
    alpha: AlphaId,
    values: Vec<(ValueId, usize)>,
    mixtures: Vec<(ValueId, usize)>,
    /// The stacked mixtures, once they have been written.
    written: Option<ValueId>,
}

impl Product {
    /// The position of a mixture among the mixtures of the product.
    fn position(&self, mixture: ValueId) -> Option<usize> {
        self.mixtures.iter().position(|(member, _)| *member == mixture)
    }

    /// Whether the product computes the term of a value in a mixture.
    fn mixes(&self, value: ValueId, mixture: ValueId) -> bool {
        self.position(mixture).is_some() && self.values.iter().any(|(member, _)| *member == value)
    }

    /// The stacked mixtures, which are written at the first call.
    fn write(&mut self, editor: &mut Editor, scope: &Scope) -> Result<ValueId> {
        if let Some(written) = self.written {
            return Ok(written);
        }
        let (inputs, columns) = self.values.iter().copied().unzip();
        let rows = self.mixtures.iter().map(|(_, row)| *row).collect();
        let stack = editor.push(Op::Stack, inputs, scope)?;
        let written = editor.push(Op::Mixtures { alpha: self.alpha, rows, columns }, vec![stack], scope)?;
        self.written = Some(written);
        Ok(written)
    }
}

/// The products of the plan: at least two values that the same two or more mixtures read. A node and its plain mean
/// pooling are mixed term by term, which takes 8 % less time of a step (benches/RESULTS.md, space of NAS-Bench-201).
fn products(plan: &Plan) -> Vec<Product> {
    let all = &plan.instructions;
    let is_pooling = |value: ValueId| all.iter().any(|it| it.output == value && matches!(it.op, Op::AvgPool { .. }));
    let shapes: HashMap<ValueId, _> = all.iter().map(|it| (it.output, &it.shape)).collect();
    let readers = readers(plan);
    let mut values: Vec<ValueId> = Vec::new();
    for instruction in all.iter().filter(|it| matches!(it.op, Op::Mix { .. })) {
        values.extend(instruction.inputs.iter().filter(|input| !values.contains(input)).collect::<Vec<_>>());
    }
    let mut products: Vec<Product> = Vec::new();
    for value in values {
        let (mut alphas, mut columns, mut mixtures) = (HashSet::new(), HashSet::new(), Vec::new());
        let mut seen = HashSet::new();
        for instruction in readers[&value].iter().filter(|it| seen.insert(it.output)) {
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
            None => products.push(Product { alpha, values: vec![(value, column)], mixtures, written: None }),
        }
    }
    products.retain(|product| match product.values[..] {
        [] | [_] => false,
        [(first, _), (second, _)] => !is_pooling(first) && !is_pooling(second),
        _ => true,
    });
    products
}
