"""`krt conformance ADDRESS`: does a Runtime Server keep the contract of runtime.proto and, where it offers it, stream.proto?

A black box is asked over gRPC, and is given scripts in a folder that it shares with us, as runtimed would. No Kubernetes in it.
`catalogue` is what is checked, `checks/` one function each; they ask through `subject` and `stream`, say what a script does by
`programs`, and leave the judging to `judgement`. `report` is for whoever reads it.
"""
