from setuptools import Extension, setup
from Cython.Build import cythonize

setup(
    ext_modules=cythonize(
        [
            Extension(
                "node.receive.usual_instance", ["node/receive/usual_instance.pyx"], optional=True
            )
        ]
    )
)
