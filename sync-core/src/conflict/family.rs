//! What hangs from what: the rows of a held conflict and of those that hang from it, ordered by their references.

use std::collections::VecDeque;

/// A row's place below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The row.
    pub node: usize,
    /// What it hangs from.
    pub parent: usize,
    /// Levels below the root, from 1.
    pub depth: u32,
}

/// The tree below node 0, parents first, each node once, by the shortest way. `refers[n]` are the nodes that node n refers to. What no way
/// leads to hangs from node 0 itself.
#[must_use]
pub fn tree(refers: &[Vec<usize>]) -> Vec<Member> {
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); refers.len()];
    for (node, targets) in refers.iter().enumerate() {
        for target in targets.iter().filter(|target| **target < refers.len()) {
            below[*target].push(node);
        }
    }
    let mut place: Vec<Option<Member>> = vec![None; refers.len()];
    let mut found = Vec::with_capacity(refers.len());
    // What hangs from the root first; then, one by one, what only hangs from others of its kind.
    for start in 0..refers.len() {
        let mut queue = VecDeque::new();
        if start == 0 {
            queue.push_back((0, 0));
        } else if place[start].is_none() {
            let member = Member { node: start, parent: 0, depth: 1 };
            place[start] = Some(member);
            found.push(member);
            queue.push_back((start, 1));
        }
        while let Some((node, depth)) = queue.pop_front() {
            for child in below[node].iter().copied().filter(|child| *child != 0) {
                if place[child].is_none() {
                    let member = Member { node: child, parent: node, depth: depth + 1 };
                    place[child] = Some(member);
                    found.push(member);
                    queue.push_back((child, depth + 1));
                }
            }
        }
    }
    found
}

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
