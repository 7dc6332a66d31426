#include <cstdlib>
#include <iostream>
#include <string>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc == 2 && argv[1] == std::string("slow")) {
		std::system("setsid sleep 1000 &");
		std::cout << "started" << std::endl;
		sleep(1000);
	}
	std::cout << "hello " << std::cin.rdbuf() << "\xff\n";
	std::cout << std::string(100'000'000, 'x') << "\n";
	std::cerr << "said apart\n";
	return 7;
}
