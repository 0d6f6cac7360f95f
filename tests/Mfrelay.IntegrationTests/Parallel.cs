// Each test starts processes; more than two at a time would only measure the machine.
[assembly: Xunit.v3.Parallelization(MaxThreads = 2)]
