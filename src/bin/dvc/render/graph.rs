//! The ancestry lines of `log --graph`: one column for each parent that is yet to be drawn.

use dvc::model::id::Id;

/// The columns after the last drawn version.
#[derive(Default)]
pub(crate) struct AncestryGraph {
    columns: Vec<Id>,
}

/// The prefixes of the lines of one version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GraphRows {
    /// Complete lines before the version.
    pub(crate) before: Vec<String>,
    /// The prefix of the version's first line.
    pub(crate) first: String,
    /// The prefix of the version's other lines.
    pub(crate) others: String,
}

impl AncestryGraph {
    /// Draws the next version, after all of its children.
    pub(crate) fn next(&mut self, id: Id, parents: &[Id]) -> GraphRows {
        let mut before = Vec::new();
        let at = match self.columns.iter().position(|c| *c == id) {
            Some(at) => at,
            None => {
                self.columns.push(id);
                self.columns.len() - 1
            }
        };
        // Other columns may lead to the same version; join them first.
        while let Some(other) = self
            .columns
            .iter()
            .skip(at + 1)
            .position(|c| *c == id)
            .map(|n| at + 1 + n)
        {
            let rest = self.columns.len() - 1;
            let step = |k: usize| format!("{}|/{}", "| ".repeat(k - 1), "| ".repeat(rest - k));
            before.extend((at + 1..=other).rev().map(step));
            self.columns.remove(other);
        }
        let row = |mark: &str, columns: &[Id]| {
            columns
                .iter()
                .enumerate()
                .map(|(n, _)| if n == at { mark } else { "| " })
                .collect::<String>()
        };
        let first = row("* ", &self.columns);
        match parents.split_first() {
            None => {
                self.columns.remove(at);
                let others = "| ".repeat(at) + "  " + &"| ".repeat(self.columns.len() - at);
                GraphRows {
                    before,
                    first,
                    others,
                }
            }
            Some((parent, more)) => {
                self.columns[at] = *parent;
                for (n, other) in more.iter().enumerate() {
                    self.columns.insert(at + 1 + n, *other);
                }
                let others = row("| ", &self.columns);
                GraphRows {
                    before,
                    first,
                    others,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_meet() {
        let id = |n: u8| Id([n; 32]);
        let mut graph = AncestryGraph::default();
        let mut text = String::new();
        for (n, parents) in [
            (5, vec![4]),
            (9, vec![3]),
            (8, vec![7]),
            (7, vec![3]),
            (4, vec![3]),
            (3, vec![2]),
            (2, vec![]),
        ] {
            let parents: Vec<Id> = parents.into_iter().map(id).collect();
            let rows = graph.next(id(n), &parents);
            rows.before
                .iter()
                .for_each(|r| text += &format!("{}\n", r.trim_end()));
            text += &format!("{}{n}\n", rows.first);
        }
        insta::assert_snapshot!(text, @"
        * 5
        | * 9
        | | * 8
        | | * 7
        * | | 4
        |/|
        |/
        * 3
        * 2
        ");
    }
}
