"""Public conformance kits: hold a plugin to what the platform expects of its kind.

They are meant for the tests of third parties as much as for ours, and need nothing but the plugin
and a folder of golden files.
"""
