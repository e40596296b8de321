//! AWS Systems Manager Automation documents: parse, check, interpret.
