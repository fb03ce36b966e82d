//! The gated activations of a recurrent cell.

use tch::Tensor;

use crate::error::{Error, Result};
use crate::space::Operation;

/// f(u).
fn activation(which: Operation, u: &Tensor) -> Result<Tensor> {
    match which {
        Operation::Tanh => Ok(u.f_tanh()?),
        Operation::Relu => Ok(u.f_relu()?),
        Operation::Sigmoid => Ok(u.f_sigmoid()?),
        Operation::Identity => Ok(u.shallow_clone()),
        other => Err(Error::engine(format!("`{}` is no activation", other.name()))),
    }
}

/// s + σ(c)·(f(u) − s) of states and [c, u], [N, units] and [N, 2 · units].
pub fn gate(which: Operation, s: &Tensor, gates: &Tensor) -> Result<Tensor> {
    let (c, u) = halves(gates)?;
    Ok(s.f_lerp_tensor(&activation(which, &u)?, &c.f_sigmoid()?)?)
}

/// The mixture of all gates of a node: states [J · N, units] and [c, u] [J · N, 2 · units], stacked; `weights`:
/// [J, activations]. Gives [N, units].
pub fn gates(which: &[(usize, Operation)], s: &Tensor, gates: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let states = weights.size()[0];
    let units = s.size()[1];
    let apart = |x: &Tensor| x.f_reshape([states, -1, units]);
    let (c, u) = halves(gates)?;
    let mut values = Vec::with_capacity(which.len());
    for (_, activation) in which {
        values.push(self::activation(*activation, &u)?.f_reshape([states, -1])?);
    }
    // One product mixes the activations of each state, and its backward pass gives all their weights at once.
    let values = Tensor::f_stack(&values, 1)?;
    let mixed = apart(&weights.f_unsqueeze(1)?.f_bmm(&values)?)?;
    let all = weights.f_sum_dim_intlist([1i64].as_slice(), false, None)?.f_view([states, 1, 1])?;
    let share = apart(s)?.f_mul(&all)?;
    Ok(share.f_lerp_tensor(&mixed, &apart(&c.f_sigmoid()?)?)?.f_sum_dim_intlist([0i64].as_slice(), false, None)?)
}

fn halves(gates: &Tensor) -> Result<(Tensor, Tensor)> {
    let mut halves = gates.f_chunk(2, 1)?.into_iter();
    match (halves.next(), halves.next()) {
        (Some(c), Some(u)) => Ok((c, u)),
        _ => Err(Error::engine("a gate without halves")),
    }
}
