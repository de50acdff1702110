//! As much of Jira's query language as acf speaks: and anything else is an error, as there.

use super::site::{IssueState, PROJECT, is_done};

/// A query.
#[derive(Debug)]
pub(super) enum Query {
    All(Vec<Query>),
    Any(Vec<Query>),
    /// A field, whether it is negated, and the values; none for emptiness.
    Field(String, bool, Vec<String>),
}

impl Query {
    pub(super) fn holds(&self, issue: &IssueState) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(issue)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(issue)),
            Self::Field(field, negated, values) => {
                let of_issue: Vec<&str> = match field.as_str() {
                    "project" => vec![PROJECT],
                    "status" => vec![&issue.status],
                    "statuscategory" => vec![if is_done(&issue.status) { "Done" } else { "To Do" }],
                    "assignee" => issue.assignee.iter().map(String::as_str).collect(),
                    _ => issue.labels.iter().map(String::as_str).collect(),
                };
                let is_one = |value: &&str| values.iter().any(|wanted| wanted.eq_ignore_ascii_case(value));
                match (values.is_empty(), of_issue.is_empty()) {
                    (true, is_empty) => is_empty != *negated,
                    // What is empty is neither one of the values nor none of them.
                    (false, true) => false,
                    (false, false) => of_issue.iter().any(is_one) != *negated,
                }
            }
        }
    }
}

/// Reads a query of a site with those statuses, that ranks its issues or not.
pub(super) fn parse(text: &str, statuses: &[String], has_ranks: bool) -> Result<Query, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, statuses };
    let query = parser.any()?;
    parser.word("order")?;
    parser.word("by")?;
    if !parser.takes("created") {
        parser.word("rank")?;
        if !has_ranks {
            return Err("Field 'rank' does not exist or you do not have permission to view it.".to_owned());
        }
    }
    parser.word("asc")?;
    match parser.peek() {
        None => Ok(query),
        Some(token) => Err(format!("Error in the JQL Query: Expecting the end, but got {token:?}.")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' => {}
            '"' => {
                let mut value = String::new();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => value.extend(rest.next()),
                        Some(c) => value.push(c),
                        None => return Err("Error in the JQL Query: a quote is not closed.".to_owned()),
                    }
                }
                tokens.push(Token::Text(value));
            }
            '!' if rest.next_if_eq(&'=').is_some() => tokens.push(Token::Sign("!=".to_owned())),
            '(' | ')' | ',' | '=' => tokens.push(Token::Sign(c.to_string())),
            c if c.is_alphanumeric() => {
                let mut word = c.to_string();
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric()) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c => return Err(format!("Error in the JQL Query: the character {c:?} is not expected.")),
        }
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    statuses: &'a [String],
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let is_it = match self.peek() {
            Some(Token::Word(word)) => word.eq_ignore_ascii_case(wanted),
            Some(Token::Sign(sign)) => sign == wanted,
            _ => false,
        };
        self.at += usize::from(is_it);
        is_it
    }

    fn word(&mut self, wanted: &str) -> Result<(), String> {
        if self.takes(wanted) {
            return Ok(());
        }
        Err(format!("Error in the JQL Query: Expecting {wanted:?}, but got {:?}.", self.peek()))
    }

    fn any(&mut self) -> Result<Query, String> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(Query::Any(parts))
    }

    fn all(&mut self) -> Result<Query, String> {
        let mut parts = vec![self.one()?];
        while self.takes("and") {
            parts.push(self.one()?);
        }
        Ok(Query::All(parts))
    }

    fn one(&mut self) -> Result<Query, String> {
        if self.takes("(") {
            let query = self.any()?;
            self.word(")")?;
            return Ok(query);
        }
        let field = match self.next() {
            Some(Token::Word(word)) => word.to_ascii_lowercase(),
            other => return Err(format!("Error in the JQL Query: Expecting a field, but got {other:?}.")),
        };
        if !["project", "status", "statuscategory", "assignee", "labels"].contains(&&*field) {
            return Err(format!("Field '{field}' does not exist or you do not have permission to view it."));
        }
        let (negated, values) = self.condition()?;
        for value in &values {
            let exists = match field.as_str() {
                "project" => value == PROJECT,
                "status" => self.statuses.iter().any(|status| status.eq_ignore_ascii_case(value)),
                _ => true,
            };
            if !exists {
                return Err(format!("The value '{value}' does not exist for the field '{field}'."));
            }
        }
        Ok(Query::Field(field, negated, values))
    }

    fn condition(&mut self) -> Result<(bool, Vec<String>), String> {
        if self.takes("is") {
            let negated = self.takes("not");
            self.word("empty")?;
            return Ok((negated, Vec::new()));
        }
        if self.takes("=") {
            return Ok((false, vec![self.value()?]));
        }
        if self.takes("!=") {
            return Ok((true, vec![self.value()?]));
        }
        let negated = self.takes("not");
        self.word("in")?;
        self.word("(")?;
        let mut values = vec![self.value()?];
        while self.takes(",") {
            values.push(self.value()?);
        }
        self.word(")")?;
        Ok((negated, values))
    }

    fn value(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Text(text) | Token::Word(text)) => Ok(text),
            other => Err(format!("Error in the JQL Query: Expecting a value, but got {other:?}.")),
        }
    }
}
