//! Which rows can only be written together, and in which order.

/// The nodes in units that can only be written together (circles), each after every unit that it refers to: the strongly connected components
/// (Tarjan, 1972), without recursion. `refers[n]` are the nodes that node n refers to.
#[must_use]
pub fn units(refers: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let count = refers.len();
    let (mut index, mut low, mut on_stack) = (vec![UNSEEN; count], vec![0; count], vec![false; count]);
    let (mut stack, mut units, mut next) = (Vec::new(), Vec::new(), 0);
    for start in 0..count {
        if index[start] != UNSEEN {
            continue;
        }
        // Each frame: a node and how many of its references were followed.
        let mut frames = vec![(start, 0)];
        while let Some((node, followed)) = frames.pop() {
            if followed == 0 {
                (index[node], low[node], on_stack[node]) = (next, next, true);
                stack.push(node);
                next += 1;
            }
            let target = refers[node].iter().copied().filter(|target| *target < count).nth(followed);
            match target {
                Some(target) => {
                    frames.push((node, followed + 1));
                    if index[target] == UNSEEN {
                        frames.push((target, 0));
                    } else if on_stack[target] {
                        low[node] = low[node].min(index[target]);
                    }
                }
                None => {
                    if let Some((above, _)) = frames.last() {
                        low[*above] = low[*above].min(low[node]);
                    }
                    if low[node] == index[node] {
                        let mut unit = Vec::new();
                        while let Some(member) = stack.pop() {
                            on_stack[member] = false;
                            unit.push(member);
                            if member == node {
                                break;
                            }
                        }
                        unit.sort_unstable();
                        units.push(unit);
                    }
                }
            }
        }
    }
    units
}
