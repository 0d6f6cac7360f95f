#:property TreatWarningsAsErrors=false
#:property RunAnalyzers=false
#:property RestorePackagesWithLockFile=false
// Prints every assembly that a program in a directory may load (references of references) and that is not there; fails when there is one.
// dotnet run tests/packaging/closure.cs -- /usr/lib/mfrelay mfrelay
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

string directory = args[0];
var seen = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
var todo = new Stack<string>(args[1..]);
int missing = 0;
while (todo.TryPop(out string? name))
{
    if (!seen.Add(name))
        continue;
    string file = Path.Combine(directory, $"{name}.dll");
    if (!File.Exists(file))
    {
        Console.WriteLine($"missing: {name}");
        missing++;
        continue;
    }
    using var reader = new PEReader(File.OpenRead(file));
    MetadataReader metadata = reader.GetMetadataReader();
    foreach (AssemblyReferenceHandle reference in metadata.AssemblyReferences)
        todo.Push(metadata.GetString(metadata.GetAssemblyReference(reference).Name));
}
Console.WriteLine($"{seen.Count} assemblies in reach");
return missing == 0 ? 0 : 1;
